"""How many transfers a second does the HTTP API take of a program with an API key, everything that protects it on?

As `rest`, but the load shows an API key with the scope it needs, rather than the owner credential: it is looked up, its
principal is judged by four limits and by the policies, metrics count it, and 1% of the requests are traced to a
collector.
"""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benches._processes import instance, load
from benches._run import Figures, Table, flags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benches._processes import Instance

CONNECTIONS = 64
TARGET = 2_500
OFFERED = 1_000
TARGET_P99_MS = 10


def main() -> None:
    """Runs it."""
    asked = flags(__doc__, rounds=3)
    seconds = asked.of(8, 0.6)
    table = Table(
        "API key",
        f"{CONNECTIONS} connections, {seconds:g} s a round, POST /api/v1/transaction with an API key. Closed: each "
        "connection sends its next request when it has the answer. Offered: at fixed times; a latency counts from the "
        "time at which its request was due. Limits and metrics are on, and 1% of the requests are traced.",
        asked,
    )
    results = {rate: {key: Figures() for key in ("rate", "p50_us", "p99_us", "max_us")} for rate in (0, OFFERED)}
    with _collector() as (endpoint, traces), instance(http=True, otlp_endpoint=endpoint) as one:
        load("binary", *one.reach, rows=1, seconds=0.1, warm=0.1)  # makes the accounts
        key = _key(one)
        for _ in range(asked.rounds):
            for rate, figures in results.items():
                plan = {"connections": CONNECTIONS, "rate": rate, "seconds": seconds, "warm": asked.of(1, 0.2)}
                found = load("http", one.http_address, key, **plan)
                if found["failed"] or found["refused"] or found["unanswered"]:
                    raise SystemExit(f"requests failed: {found}")
                for name, each in figures.items():
                    each.add(found[name] / (1_000 if name.endswith("_us") else 1))
    closed, offered = results[0], results[OFFERED]
    table.at_least("closed: requests", closed["rate"], "/s", TARGET)
    table.add("closed: p50", closed["p50_us"], "ms")
    table.add("closed: p99", closed["p99_us"], "ms")
    table.add(f"{OFFERED:,}/s offered: p50", offered["p50_us"], "ms")
    table.at_most(f"{OFFERED:,}/s offered: p99", offered["p99_us"], "ms", TARGET_P99_MS)
    table.say("calls of the collector", f"{len(traces):,}")
    table.limit("the HTTP process, one Python thread, as in `rest`.")
    table.show()


def _key(one: Instance) -> str:
    """A file with the key of a service account that may move money, and nothing else."""
    made = _qenex(one, "principals", "create", "service", "bench", "--role", "operator")
    path = one.settings.home / "key"
    _qenex(one, "keys", "create", made["id"], "bench", "--scope", "transfers:write", "--to-file", str(path))
    return str(path)


def _qenex(one: Instance, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "qenex.cli", *words, "--home", str(one.settings.home), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@contextmanager
def _collector() -> Iterator[tuple[str, list[int]]]:
    """Takes traces on loopback, and counts the calls."""
    calls: list[int] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            calls.append(len(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
            """Says nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", calls
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
