"""`python -m qenex.cli`, the same as `qenex`."""

from qenex.cli.app import main

main()
