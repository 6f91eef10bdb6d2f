"""Run by Alembic: migrates on the connection that `upgrade` was given."""

from __future__ import annotations

from alembic import context

from qenex.adapters.database.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
