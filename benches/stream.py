"""How soon do a thousand subscribers hear of a thousand updates a second, beside nine thousand that hear of nothing?

The engine, the HTTP process, the load (a native program) and the subscribers (one process that reads all their sockets)
share the cores. Idle subscribers wait for an account each that does not change; the others hear of everything, so that
each update goes to a thousand sockets: a million a second are handed out.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import uvloop

from benches._processes import instance, load
from benches._run import ROOT, Figures, Table, flags
from qenex import QenexClient, bootstrap

if TYPE_CHECKING:
    import argparse

    from benches._processes import Instance
    from benches._run import Flags

IDLE = 9_000
LISTENING = 1_000
RATE = 1_000
TARGET_P99_MS = 150
CONNECTING = 64
"""Connections that are being made at a time."""
FIRST_IDLE = 1_000_000_000
IDLE_ACCOUNTS = 1_000
COUNTED = 20
"""Subscribers whose events are counted, one by one; of the others the frames are."""
MOMENT = re.compile(rb'"timestamp_ns":"(\d+)"')


def main() -> None:
    """Runs it."""
    if len(sys.argv) > 1 and sys.argv[1] == "listen":
        uvloop.run(_listen(json.loads(sys.argv[2])))
        return
    asked = flags(__doc__, rounds=3, more=_more)
    idle, listening = int(asked.of(IDLE, 100)), int(asked.of(LISTENING, 20))
    seconds = asked.of(8, 1)
    table = Table(
        "Stream",
        f"{idle + listening:,} subscribers of one HTTP process, {idle:,} of them idle; {RATE:,} transfers a second, "
        f"each heard of by {listening:,}; {seconds:g} s a round. The latency of a frame is the time from its oldest "
        "event, by the engine's clock, to the moment at which the subscriber has read its beginning.",
        asked,
    )
    figures = {name: Figures() for name in ("p50", "p99", "max", "rate", "cpu", "memory")}
    with instance(http=True) as one:
        load("binary", *one.reach, rows=1, seconds=0.1, warm=0.1)  # makes the accounts
        with QenexClient(address=one.address, home=one.settings.home) as client:
            for number in range(IDLE_ACCOUNTS):
                client.create_account("EUR", account_id=FIRST_IDLE + number)
        for _ in range(asked.rounds):
            found = _round(one, asked, idle, listening, seconds)
            for name, value in found.items():
                figures[name].add(value)
    table.at_most("latency p99", figures["p99"], "ms", TARGET_P99_MS)
    table.add("latency p50", figures["p50"], "ms")
    table.add("longest", figures["max"], "ms")
    table.add("events handed out", figures["rate"], "/s", f"{RATE * listening:,} offered")
    table.add("CPU of the HTTP process", figures["cpu"], "s/s")
    table.add("its memory", figures["memory"], "MiB")
    table.limit(
        "the copies of the sockets: an event is made into JSON once, a frame once for all who hear the same, and then "
        "it is written a thousand times."
    )
    table.show()


def _more(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=RATE, help=f"updates a second (default: {RATE})")


def _round(one: Instance, asked: Flags, idle: int, listening: int, seconds: float) -> dict[str, float]:
    plan = {
        "address": one.http_address,
        "token": one.token,
        "idle": idle,
        "listening": listening,
    }
    listeners = subprocess.Popen(
        [sys.executable, "-m", "benches.stream", "listen", json.dumps(plan)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert listeners.stdin is not None  # noqa: S101  # it is a pipe
    assert listeners.stdout is not None  # noqa: S101  # as above
    if listeners.stdout.readline() != "ready\n":
        raise SystemExit("the subscribers did not come in")
    http = one.http
    assert http is not None  # noqa: S101  # it was started
    before, began = http.cpu_seconds, time.monotonic()
    offered: dict[str, Any] = {}

    def offer() -> None:
        rate = asked.given.rate
        plan = {"connections": 1, "window": 64, "rows": 1, "rate": rate, "seconds": seconds, "warm": 1, "create": False}
        offered.update(load("binary", *one.reach, **plan))

    thread = threading.Thread(target=offer)
    thread.start()
    thread.join()
    used = (http.cpu_seconds - before) / (time.monotonic() - began)
    listeners.stdin.write("end\n")
    listeners.stdin.flush()
    report: dict[str, float] = json.loads(listeners.stdout.readline())
    memory = http.anonymous_bytes / 1_048_576
    listeners.stdin.close()
    listeners.wait()
    if report["lost"] or report["events_low"] != report["events_high"]:
        raise SystemExit(f"events are missing: {report}")
    rate = report["events_low"] * listening / (seconds + 1)
    return {
        "p50": report["p50"],
        "p99": report["p99"],
        "max": report["max"],
        "rate": rate,
        "cpu": used,
        "memory": memory,
    }


class _Subscriber(asyncio.Protocol):
    """Reads a socket of the stream: frames by their heads, events only where they are counted."""

    latencies: list[float]
    lost = 0

    def __init__(self, plan: dict[str, Any], topic: str, *, counts: bool) -> None:
        self._plan, self._topic, self._counts = plan, topic, counts
        self._buffer = b""
        self._left = 0
        self._kept: list[bytes] = []
        self.events = 0
        self.ready = asyncio.get_running_loop().create_future()
        self._is_open = self._is_known = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        host = self._plan["address"]
        transport.write(  # type: ignore[attr-defined]
            f"GET /v1/stream HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode("ascii")
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._transport.is_closing() or exc is not None:
            _Subscriber.lost += 1

    def _say(self, **message: object) -> None:
        text = json.dumps(message).encode("ascii")
        head = b"\x81" + (bytes((0x80 | len(text),)) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big"))
        self._transport.write(head + bytes(4) + text)  # masked with zeros, which changes nothing

    def data_received(self, data: bytes) -> None:
        if not self._is_open:
            self._buffer += data
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise SystemExit(head.decode("latin-1"))
            self._is_open, self._buffer = True, b""
            self._say(type="authenticate", credential=self._plan["token"])
            data = rest
        at, now = 0, time.time_ns()
        while at < len(data):
            if self._left:
                taken = min(self._left, len(data) - at)
                if self._counts or not self.ready.done():
                    self._kept.append(data[at : at + taken])
                self._left -= taken
                at += taken
                if not self._left:
                    self._whole()
                continue
            self._buffer += data[at : at + 200]
            size, header = _size(self._buffer)
            if size < 0:
                at = len(data)
                continue
            if self.ready.done() and size and (moment := MOMENT.search(self._buffer)):
                self.latencies.append((now - int(moment[1])) / 1e6)
            at += header - (len(self._buffer) - len(data[at : at + 200]))
            self._buffer, self._left = b"", size

    def _whole(self) -> None:
        message = b"".join(self._kept)
        self._kept = []
        if self.ready.done():
            self.events += message.count(b'"accounts":[')
        elif not self._is_known:
            if b'"authenticated"' not in message:
                raise SystemExit(message.decode("utf-8"))
            self._is_known = True
            self._say(type="subscribe", topics=[self._topic])
        else:
            answer = json.loads(message)
            self.ready.set_result("subscribed" if answer["type"] == "subscribed" else str(answer))


def _size(buffer: bytes) -> tuple[int, int]:
    """Length of the payload of the frame that begins here, and of its head; -1 where more is needed."""
    if len(buffer) < 2:
        return -1, 0
    short = buffer[1] & 0x7F
    header = {126: 4, 127: 10}.get(short, 2)
    if len(buffer) < min(header + 100, header + short if short < 126 else header + 100):
        return -1, 0
    return (short if short < 126 else int.from_bytes(buffer[2:header], "big")), header


async def _listen(plan: dict[str, Any]) -> None:
    """Connects all subscribers, says so, reads until told to end, and reports."""
    bootstrap.allow_many_files()
    loop = asyncio.get_running_loop()
    host, _, port = plan["address"].rpartition(":")
    _Subscriber.latencies = []
    gate = asyncio.Semaphore(CONNECTING)

    async def connect(number: int) -> _Subscriber:
        async with gate:
            listens = number < plan["listening"]
            topic = "all" if listens else f"accounts/{FIRST_IDLE + number % IDLE_ACCOUNTS}"
            counts = listens and number < COUNTED
            _, one = await loop.create_connection(lambda: _Subscriber(plan, topic, counts=counts), host, int(port))
            if (answer := await one.ready) != "subscribed":
                raise SystemExit(f"the subscription to {topic} was answered {answer}")
            return one

    everyone = await asyncio.gather(*(connect(number) for number in range(plan["idle"] + plan["listening"])))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.readline)
    await asyncio.sleep(1)
    counts = [one.events for one in everyone[:COUNTED]][: plan["listening"]]
    latencies = sorted(_Subscriber.latencies) or [0.0]
    report = {
        "p50": statistics.median(latencies),
        "p99": latencies[int(len(latencies) * 0.99)],
        "max": latencies[-1],
        "events_low": min(counts),
        "events_high": max(counts),
        "lost": _Subscriber.lost,
    }
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
