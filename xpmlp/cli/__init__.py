"""The commands: each parses, calls and prints; what they do is elsewhere.

Exit status: 0 done, 1 a disagreement or a run that diverged, 2 bad usage or input, 3 a backend
that cannot run, 130 and 143 after Ctrl-C and SIGTERM, once the checkpoint is written.
"""

from xpmlp.cli.app import main

__all__ = ["main"]
