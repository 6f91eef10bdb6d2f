"""The command line: decode, call, print."""

from qenex.cli.app import main

__all__ = ["main"]
