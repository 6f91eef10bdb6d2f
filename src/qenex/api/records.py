"""The records of the HTTP process: opened at its start, or as soon as they can be reached."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from qenex import bootstrap
from qenex.adapters.database import open_records
from qenex.errors import QenexError, RecordsUnavailable

if TYPE_CHECKING:
    from qenex.adapters.database import Change, Records
    from qenex.api.app import Application
    from qenex.principals import Principal
    from qenex.services.access import Access
    from qenex.services.identity.service import Identities
    from qenex.settings import Settings

LOG: Final = logging.getLogger("qenex.records")
AGAIN_S: Final = 2.0
"""How often they are tried again."""
USED_S: Final = 60.0
"""How often it is written when keys were used."""


class OpenRecords:
    """Opens the records and makes the application know who is in them."""

    def __init__(self, settings: Settings, application: Application, access: Access) -> None:
        """Wires it."""
        self._settings, self._application, self._access = settings, application, access
        self._records: Records | None = None
        self._identities: Identities | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens them; where they cannot be reached now it goes on trying, and until then only the owner is known.

        Raises:
            QenexError: they are there and cannot be used: damaged, newer than this release, under another key.
        """
        try:
            await self._open()
        except RecordsUnavailable as error:
            LOG.error("the records cannot be reached: %s", error)  # noqa: TRY400  # it says all
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """Writes what is still to be written, and closes them."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._identities is not None:
            try:
                await self._identities.close()
            except RecordsUnavailable as error:
                LOG.warning("when keys were used last could not be written: %s", error)
        if self._records is not None:
            await self._records.close()

    async def _open(self) -> None:
        records = await open_records(self._settings)
        await records.feed.start()
        identities = bootstrap.identities(records, self._access)
        records.feed.listen(frozenset({"principal", "api_key"}), self._ended, lambda: None)
        self._records, self._identities = records, identities
        self._application.know(identities)

    def _ended(self, change: Change) -> None:
        """A credential or its holder has changed: the streams that it opened end, and come again if they may."""

        def is_meant(principal: Principal) -> bool:
            return principal.book == change.book and change.subject in (principal.id, principal.credential)

        self._application.streams.revoke(is_meant)

    async def _keep(self) -> None:
        while self._records is None:
            await asyncio.sleep(AGAIN_S)
            try:
                await self._open()
            except QenexError as error:
                LOG.debug("the records cannot be used: %s", error)
        while True:
            await asyncio.sleep(USED_S)
            try:
                if self._identities is not None:
                    await self._identities.write_used()
            except RecordsUnavailable as error:
                LOG.warning("when keys were used last could not be written: %s", error)
