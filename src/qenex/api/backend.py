"""The connections to the engine, and what happens while it is away.

Writes have a connection with a session, which it takes an entry in the journal to open: while the engine's disk is full
that is refused, and so is the write that wanted it. Reads have one without, so that they go on.

Each connection itself reconnects and retries, within its patience. When even that is over, the engine counts as away:
requests are then refused at once, with a time to come back, rather than each waiting in vain, and one probe looks for
the engine, at a new address if it has one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from qenex.client.async_connection import AsyncConnection
from qenex.client.protocol import WRITES, Operation
from qenex.client.session import Session
from qenex.errors import (
    ClientClosed,
    ConnectionFailed,
    EngineUnreachable,
    Forbidden,
    QenexError,
    ShuttingDown,
    Unauthenticated,
    UnknownOutcome,
    WrongBook,
)
from qenex.telemetry import tracing

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
        self._reader: AsyncConnection | None = None
        self._writer: AsyncConnection | None = None
        self._probe: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def up(self) -> bool:
        """Whether the engine answered lately."""
        return self._probe is None and self._reader is not None

    @property
    def book(self) -> bytes:
        """The book that the engine serves.

        Raises:
            EngineUnreachable: it has not answered yet.
        """
        for connection in (self._reader, self._writer):
            if connection is not None and connection.session.welcome is not None:
                return connection.session.book
        self._away()
        raise EngineUnreachable("It has not been reached yet.")

    async def call(
        self,
        operation: int,
        rows: NDArray[np.void] | bytes,
        *,
        linger_us: int = 0,
        context: bytes = b"",
        trace: bytes | None = None,
    ) -> Reply:
        """One request, answered; `Call` says of what.

        Raises:
            EngineUnreachable: the engine is away; nothing was sent.
            EngineError: the engine refuses the request as a whole, or gave no answer in time.
        """
        if self._probe is not None:
            raise EngineUnreachable("It is being looked for.")
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            reader, writer = self._connect()
        connection = writer if operation in WRITES else reader
        try:
            trace = tracing.current_id() if trace is None else trace
            return await connection.call(operation, rows, linger_us=linger_us, context=context, trace=trace)
        except (ConnectionFailed, ShuttingDown, UnknownOutcome):
            self._away()
            raise
        except ClientClosed as error:
            # The engine was found at another address meanwhile. What was sent to the old one may have happened there.
            if operation in WRITES:
                raise UnknownOutcome("The engine has moved while it was asked.") from error
            raise EngineUnreachable("It has moved.") from error
        except (Unauthenticated, Forbidden, WrongBook) as error:
            # It is this process that the engine does not let in, not whoever asked us.
            self._away()
            raise EngineUnreachable(f"It does not take our credential: {error}") from error

    async def close(self) -> None:
        """Ends the connections."""
        self._closed = True
        if self._probe is not None:
            self._probe.cancel()
        await self._disconnect()

    async def _disconnect(self) -> None:
        for connection in (self._writer, self._reader):
            if connection is not None:
                await connection.close()

    def _connect(self) -> tuple[AsyncConnection, AsyncConnection]:
        """Both connections, which come about with their first calls."""
        address = self._find_address()
        reader, writer = (
            AsyncConnection(address, Session(self._credential, NAME, read_only=read_only, patience_s=PATIENCE_S))
            for read_only in (True, False)
        )
        self._address, self._reader, self._writer = address, reader, writer
        return reader, writer

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
        """The connection for reads, or a new one where the engine has moved."""
        if self._reader is not None:
            if self._find_address() == self._address:
                return self._reader
            await self._disconnect()
        reader, _ = self._connect()
        return reader
