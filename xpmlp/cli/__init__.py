"""The commands: each parses, calls and prints; what they do is elsewhere.

Exit status: 0 done, 1 a disagreement or a run that diverged, 2 bad usage or input, 3 a backend
that cannot run, 130 and 143 after Ctrl-C and SIGTERM, once the checkpoint is written.
"""

import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit status."""
    # As the first process of a container there is no default action for SIGTERM: it would be
    # ignored until training listens. Set before the imports, which take a while.
    signal.signal(signal.SIGTERM, _leave)
    try:
        from xpmlp.cli.app import main as run

        sys.exit(run(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


__all__ = ["main"]
