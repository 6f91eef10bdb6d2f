"""The HTTP process: `run(settings)` serves until SIGTERM or SIGINT, then lets requests under way end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import signal
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import uvicorn
import uvloop
from prometheus_client import CollectorRegistry

from qenex import bootstrap, parent
from qenex.adapters.policy_alarm import PolicyAlarm
from qenex.adapters.redis import RedisLimits
from qenex.api import protocol
from qenex.api.app import Application
from qenex.api.backend import Backend
from qenex.api.desks import Desk, Desks
from qenex.api.gateway import Protection
from qenex.api.metrics import MetricsPage
from qenex.api.protection_metrics import ProtectionMetrics
from qenex.api.records import OpenRecords
from qenex.api.stream.socket import Socket
from qenex.assets import Assets
from qenex.client.credentials import find_address
from qenex.dependencies import Dependencies
from qenex.errors import AddressInUse, AddressInvalid, QenexError, StorageFailed
from qenex.exits import exit_code
from qenex.settings import from_arguments, is_loopback
from qenex.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qenex.settings import Settings

KEEP_ALIVE_S: Final = 75
"""How long a connection may be idle between two requests."""
GRACE_S: Final = 10
"""How long requests under way may take to end after a signal."""
BACKLOG: Final = 2_048
"""Connections that may wait to be accepted."""


def run(settings: Settings) -> int:
    """Serves the API and the metrics; writes `run/http.json` once both answer.

    Returns:
        0 after a clean stop.

    Raises:
        InvalidHome: there is no usable owner credential.
        AddressInUse: another program listens on one of the ports.
        AddressInvalid: this machine has no such address.
        PlaintextExposed: other machines would come in without TLS.
        StorageFailed: the disk refused.
    """
    bootstrap.allow_many_files()
    token = bootstrap.owner_token(settings)
    with (
        _listener(settings.plain_host, settings.http_port, "--http-port") as http,
        _listener(settings.plain_host, settings.metrics_port, "--metrics-port") as metrics,
        contextlib.nullcontext() if settings.tls_certificate is None else _front_listener(settings) as behind,
    ):
        uvloop.run(_serve(settings, token, http, metrics, behind))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m qenex.api`: reads the settings from flags, variables and the home, and serves.

    Returns:
        An `ExitCode`; what went wrong is printed to the error stream.
    """
    arguments = from_arguments("python -m qenex.api", "The QENEX HTTP API and metrics.", argv)
    if arguments.until_input_ends:
        parent.end_with_input()
    logs.configure(arguments.settings.log_format, arguments.settings.log_level)
    try:
        return run(arguments.settings)
    except QenexError as error:
        sys.stderr.write(f"http: {error}\n")
        return exit_code(error)


async def _serve(
    settings: Settings, token: str, http: socket.socket, metrics: socket.socket, behind: socket.socket | None
) -> None:
    loop = asyncio.get_running_loop()
    backend = Backend(partial(find_address, home=settings.home), token)
    registry = CollectorRegistry()
    access = bootstrap.access(settings, PolicyAlarm(registry))
    limits = bootstrap.limits(settings)
    tracer, exporter = bootstrap.tracer(settings, "qenex-http")
    protection = Protection(limits, tracer, limits.policy.header)
    desks = Desks(Desk(backend.call, lambda: backend.book, lambda: backend.up))
    application = Application(desks, token, Assets(), access, protection, registry=registry)
    records = OpenRecords(settings, application, access)
    await records.start()
    dependencies = Dependencies()
    if isinstance(limits, RedisLimits):
        dependencies.add(limits.dependency)
    ProtectionMetrics(registry, limits, dependencies, exporter)
    # On loopback only this machine can ask; elsewhere metrics are as confidential as everything else.
    guard = None if is_loopback(settings.plain_host) else application.admit_to_metrics
    page = MetricsPage(application.metrics, application.desks.main.ledger.metrics, guard)
    protocol.Protocol.connections_max = settings.connections_max
    protocol.Protocol.trusted_proxy = settings.trusted_proxy
    Socket.streams = application.streams
    servers = [_Server(_config(application.gateway, ws=Socket), behind), _Server(_config(page))]
    stop = partial(_stop, servers)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    tasks = [
        loop.create_task(server.serve(sockets=[listener]))
        for server, listener in zip(servers, (http, metrics), strict=True)
    ]
    sweepers = [loop.create_task(protocol.sweep(server.server_state)) for server in servers]
    sweepers.append(loop.create_task(application.streams.sweep()))
    try:
        for server in servers:
            await server.ready.wait()
        # What was loaded by now stays: the collector need not go through it again and again while requests wait.
        gc.collect()
        gc.freeze()
        addresses = {"http": _address(http), "metrics": _address(metrics)}
        bootstrap.write_run_file(settings.http_file, {"pid": os.getpid(), **addresses})
        await asyncio.gather(*tasks)
    finally:
        settings.http_file.unlink(missing_ok=True)
        settings.http_socket.unlink(missing_ok=True)
        for sweeper in sweepers:
            sweeper.cancel()
        await application.streams.close()
        await records.close()
        await backend.close()
        if isinstance(limits, RedisLimits):
            await limits.close()
        if exporter is not None:
            await asyncio.to_thread(exporter.close)


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it serves; signals are ours, since there are two of them."""

    def __init__(self, config: uvicorn.Config, behind: socket.socket | None = None) -> None:
        """`behind` is where the TLS front hands connections over."""
        super().__init__(config)
        self.ready = asyncio.Event()
        self._behind = behind

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to serve."""
        await super().startup(sockets)
        if self._behind is not None:
            loop = asyncio.get_running_loop()
            # Of one count with the others: there is one limit of connections, and one end.
            server = await loop.create_unix_server(self._connection, sock=self._behind, backlog=BACKLOG)
            self.servers.append(server)
        self.ready.set()

    def _connection(self) -> protocol.Protocol:
        return protocol.Protocol(self.config, self.server_state, self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone."""
        yield


def _stop(servers: list[_Server]) -> None:
    for server in servers:
        server.should_exit = True


def _config(application: Any, ws: Any = "none") -> uvicorn.Config:  # noqa: ANN401  # as uvicorn types them
    return uvicorn.Config(
        application,
        http=protocol.Protocol,
        ws=ws,
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
    )


def _listener(host: str, port: int, flag: str) -> socket.socket:
    """A socket bound to the address; it listens once its server starts."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, number)
    except OSError as error:
        raise AddressInvalid(host, str(error)) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(host, port, flag) from error
        raise AddressInvalid(host, str(error)) from error
    return listener


def _front_listener(settings: Settings) -> socket.socket:
    """Where the TLS front hands connections over; nobody else can open it, for who can is believed."""
    path = settings.http_socket
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        # Born with the right mode: there is no moment in which another could connect.
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StorageFailed(path, f"cannot be listened on: {error.strerror or error}") from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
