"""What QENEX tells of itself while it works: logs without secrets, and traces."""
