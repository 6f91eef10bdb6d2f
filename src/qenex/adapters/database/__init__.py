"""The records: what is not derived from the journal, in SQLite or PostgreSQL.

`open_records(settings)` opens them, `records.of(book)` reads and writes those of one book.
"""

from qenex.adapters.database.changes import Change as Change
from qenex.adapters.database.changes import Feed as Feed
from qenex.adapters.database.opening import open_records as open_records
from qenex.adapters.database.records import BookRecords as BookRecords
from qenex.adapters.database.records import Records as Records
from qenex.adapters.database.records import Work as Work
from qenex.adapters.database.vault import Vault as Vault
