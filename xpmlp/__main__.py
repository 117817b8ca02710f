"""`python -m xpmlp` is `xpmlp`."""

from xpmlp.cli import main

main()
