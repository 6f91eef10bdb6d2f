"""The one connection to the engine, and what happens while it is away.

The connection itself reconnects and retries, within its patience. When even that is over, the engine counts as away:
requests are then refused at once, with a time to come back, rather than each waiting in vain, and one probe looks for
the engine, at a new address if it has one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from qenex.client.async_connection import AsyncConnection
from qenex.client.protocol import Operation
from qenex.client.session import Session
from qenex.errors import (
    ConnectionFailed,
    EngineUnreachable,
    Forbidden,
    QenexError,
    ShuttingDown,
    Unauthenticated,
    UnknownOutcome,
    WrongBook,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from qenex.client.credentials import Address
    from qenex.client.session import Reply

PATIENCE_S: Final = 5.0
"""How long a request may wait for its answer, reconnecting included."""
PROBE_S: Final = 0.25
"""How often the engine is looked for while it is away."""
NAME: Final = "qenex-http"
"""How this process calls itself to the engine."""


class Backend:
    """Calls to the engine."""

    def __init__(self, find_address: Callable[[], Address], credential: str) -> None:
        """Connects with the first call.

        Args:
            find_address: where the engine is now; asked again when it went away.
            credential: the owner's.
        """
        self._find_address, self._credential = find_address, credential
        self._address: Address | None = None
        self._connection: AsyncConnection | None = None
        self._probe: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def up(self) -> bool:
        """Whether the engine answered lately."""
        return self._probe is None and self._connection is not None

    @property
    def book(self) -> bytes:
        """The book that the engine serves.

        Raises:
            EngineUnreachable: it has not answered yet.
        """
        if self._connection is None or self._connection.session.welcome is None:
            self._away()
            raise EngineUnreachable("It has not been reached yet.")
        return self._connection.session.book

    async def call(
        self, operation: int, rows: NDArray[np.void] | bytes, *, linger_us: int = 0, context: bytes = b""
    ) -> Reply:
        """One request, answered.

        Raises:
            EngineUnreachable: the engine is away; nothing was sent.
            EngineError: the engine refuses the request as a whole, or gave no answer in time.
        """
        if self._probe is not None:
            raise EngineUnreachable("It is being looked for.")
        connection = self._connection or self._connect()
        try:
            return await connection.call(operation, rows, linger_us=linger_us, context=context)
        except (ConnectionFailed, ShuttingDown, UnknownOutcome):
            self._away()
            raise
        except (Unauthenticated, Forbidden, WrongBook) as error:
            # It is this process that the engine does not let in, not whoever asked us.
            self._away()
            raise EngineUnreachable(f"It does not take our credential: {error}") from error

    async def close(self) -> None:
        """Ends the connection."""
        self._closed = True
        if self._probe is not None:
            self._probe.cancel()
        if self._connection is not None:
            await self._connection.close()

    def _connect(self) -> AsyncConnection:
        address = self._find_address()
        session = Session(self._credential, NAME, read_only=False, patience_s=PATIENCE_S)
        self._address, self._connection = address, AsyncConnection(address, session)
        return self._connection

    def _away(self) -> None:
        if self._probe is None and not self._closed:
            self._probe = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        """Asks for the engine's status until it gives it."""
        while True:
            try:
                connection = await self._connected()
                await connection.call(Operation.GET_STATUS, b"")
            except QenexError:
                await asyncio.sleep(PROBE_S)
            else:
                self._probe = None
                return

    async def _connected(self) -> AsyncConnection:
        """The connection, or a new one where the engine has moved."""
        if self._connection is not None:
            if self._find_address() == self._address:
                return self._connection
            await self._connection.close()
        return self._connect()
