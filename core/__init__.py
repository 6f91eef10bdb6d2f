"""The two engines of QENEX as processes."""
