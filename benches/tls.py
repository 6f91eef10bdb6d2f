"""What does TLS before HTTP cost: how many requests a second, how long they wait, how many handshakes?

The engine, the HTTP process, the front and the load (a native program, which speaks TLS too and shares the two cores)
are four processes. Each request is `POST /api/v1/transaction` on a connection that is kept.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benches._processes import instance, run
from benches._run import Figures, Table, flags
from qenex import QenexClient
from qenex.cli.tls import make
from qenex.kernel import AccountFlags

if TYPE_CHECKING:
    from pathlib import Path

    from benches._processes import Instance

CONNECTIONS = 64
FEW = 4


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=3)
    seconds = asked.of(6, 0.5)
    table = Table(
        "TLS",
        f"{CONNECTIONS} or {FEW} connections, {seconds:g} s a round, each sending its next request when it has the "
        "answer. TLS 1.3, X25519MLKEM768, a certificate with a P-256 key, no session is resumed.",
        asked,
    )
    keys = ("rate", "p50_us", "p99_us")
    found: dict[tuple[str, int], dict[str, Figures]] = {}
    greetings = {key: Figures() for key in keys}
    cpu = {"request": Figures(), "handshake": Figures()}
    with instance(http=True, certificate=make(["127.0.0.1"])) as one:
        request = _request(one)
        for _ in range(asked.rounds):
            for connections in (CONNECTIONS, FEW):
                for kind, address, roots in (("plain", one.http_address, "-"), ("TLS", one.https_address, str(one.ca))):
                    before = one.fronting.cpu_seconds
                    came = _load("requests", address, roots, connections, seconds, str(request))
                    figures = found.setdefault((kind, connections), {key: Figures() for key in keys})
                    _add(figures, came)
                    if (kind, connections) == ("TLS", CONNECTIONS):
                        cpu["request"].add((one.fronting.cpu_seconds - before) * 1e6 / came["count"])
            before = one.fronting.cpu_seconds
            came = _load("handshakes", one.https_address, str(one.ca), FEW, seconds)
            _add(greetings, came)
            cpu["handshake"].add((one.fronting.cpu_seconds - before) * 1e6 / came["count"])
    for (kind, connections), figures in found.items():
        said = f"{kind}, {connections} connections"
        table.add(f"{said}: requests", figures["rate"], "/s")
        table.add(f"{said}: p50", figures["p50_us"], "ms")
        table.add(f"{said}: p99", figures["p99_us"], "ms")
    table.add(f"handshakes, {FEW} at a time", greetings["rate"], "/s")
    table.add(f"handshakes, {FEW} at a time: p50", greetings["p50_us"], "ms")
    table.add("CPU of the front, a request", cpu["request"], "us")
    table.add("CPU of the front, a connection with its handshake", cpu["handshake"], "us")
    table.limit("two cores for four processes: what the front and the load's own TLS take, HTTP does not get.")
    table.show()


def _add(figures: dict[str, Figures], came: dict[str, Any]) -> None:
    for key, one in figures.items():
        one.add(came[key] / (1_000 if key.endswith("_us") else 1))


def _load(*words: object) -> dict[str, Any]:
    came: dict[str, Any] = json.loads(run("tls_load", *map(str, words)))
    return came


def _request(one: Instance) -> Path:
    """A file with a request that pays something, which can be sent any number of times."""
    with QenexClient(one.address, credential=one.token) as client:
        debit, credit = (client.create_account("EUR", flags=AccountFlags(0)) for _ in range(2))
    body = json.dumps({"from": debit.address, "to": credit.address, "amount": "1.00", "token": "EUR"})
    head = (
        "POST /api/v1/transaction HTTP/1.1\r\nhost: qenex\r\n"
        f"authorization: Bearer {one.token}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    path = one.settings.home / "request"
    path.write_text(head + body, encoding="ascii", newline="")
    return path


if __name__ == "__main__":
    main()
