"""The client of the engine: the protocol, connections, and what stands on them. numpy and xxhash, no native module."""

from qenex.client.aio import AsyncQenexClient
from qenex.client.async_connection import AsyncConnection
from qenex.client.connection import Connection
from qenex.client.credentials import Address, find_address, find_credential
from qenex.client.protocol import EngineStatus, Operation, Position
from qenex.client.session import Reply, Session
from qenex.client.sync import QenexClient
from qenex.client.system import AsyncSystemClient, Book, Grant, SystemClient
from qenex.client.values import Account, Balance, Transaction, Transfer, TransferResult

__all__ = [
    "Account",
    "Address",
    "AsyncConnection",
    "AsyncQenexClient",
    "AsyncSystemClient",
    "Balance",
    "Book",
    "Connection",
    "EngineStatus",
    "Grant",
    "Operation",
    "Position",
    "QenexClient",
    "Reply",
    "Session",
    "SystemClient",
    "Transaction",
    "Transfer",
    "TransferResult",
    "find_address",
    "find_credential",
]
