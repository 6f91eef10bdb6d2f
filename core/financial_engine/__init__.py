"""The ledger engine as a process; see `qenex.engine`."""
