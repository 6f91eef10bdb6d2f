"""The schema's steps (Alembic), run when the records are opened.

A change of `tables.py` that has been released comes with a new file in `versions`; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from qenex.errors import RecordsNewer

if TYPE_CHECKING:
    from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Brings the schema up to date, in the db transaction that the connection is in.

    Raises:
        RecordsNewer: the schema is one that this release does not know.
    """
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    at = MigrationContext.configure(connection).get_current_revision()
    if at is not None and at not in {script.revision for script in scripts.walk_revisions()}:
        raise RecordsNewer(f"Their schema is {at}, this release knows {scripts.get_current_head()}.")
    if at != scripts.get_current_head():
        command.upgrade(config, "head")
