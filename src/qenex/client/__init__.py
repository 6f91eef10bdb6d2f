"""The client of the engine: the protocol, connections, and what stands on them. numpy and xxhash, no native module."""

from qenex.client.async_connection import AsyncConnection
from qenex.client.connection import Connection
from qenex.client.credentials import Address, find_address, find_credential
from qenex.client.protocol import EngineStatus, Operation, Position
from qenex.client.session import Reply, Session

__all__ = [
    "Address",
    "AsyncConnection",
    "Connection",
    "EngineStatus",
    "Operation",
    "Position",
    "Reply",
    "Session",
    "find_address",
    "find_credential",
]
