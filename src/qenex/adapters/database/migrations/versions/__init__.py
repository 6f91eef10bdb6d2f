"""One file a step; `down_revision` makes their order."""
