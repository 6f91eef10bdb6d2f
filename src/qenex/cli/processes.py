"""Child processes that `qenex start` runs: started, watched, stopped; never restarted in silence."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from qenex.errors import AddressInUse, AddressInvalid, ProcessDied, StartTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

LAST_LINES: Final = 20
"""Lines of a process that are kept, to be shown should it die."""

POLL_SECONDS: Final = 0.02


def check_address(host: str, port: int, flag: str) -> None:
    """Makes sure that a server can listen there, before anything is started; port 0 always can.

    Raises:
        AddressInUse: another program listens there.
        AddressInvalid: this machine has no such address, or the port is not for this user.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do it: a connection that has ended but lingers in the system is no reason to refuse.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(host, port, flag) from error
        raise AddressInvalid(host, f"port {port}: {error.strerror or error}") from error


class Child:
    """A process of ours. Its lines go to the error stream as they come, with its name before them.

    Its standard input ends when this process does, in whatever way (`qenex.parent`).
    """

    def __init__(self, name: str, command: Sequence[str], changed: threading.Event) -> None:
        """Starts it.

        Args:
            name: what people call it.
            command: program and arguments.
            changed: set when the process has ended.
        """
        self.name = name
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._changed = changed
        # A session of its own, so that Ctrl-C reaches `qenex start` alone, which stops the others in order.
        self.process = subprocess.Popen(  # noqa: S603  # our own interpreter with our own modules
            [*command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"lines of {name}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        if self.process.stdout is not None:
            for line in self.process.stdout:
                # Some of what it says it says in its own name already.
                said = line.rstrip().removeprefix(f"{self.name}: ")
                self.last_lines.append(said)
                sys.stderr.write(f"{self.name}: {said}\n")
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._changed.set()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def died(self) -> ProcessDied:
        """What to say of a process that has ended by itself."""
        self._reader.join(timeout=1)
        return ProcessDied(self.name, self.process.wait(), tuple(self.last_lines))

    def wait_until(
        self,
        answers: Callable[[], bool],
        *,
        seconds: float,
        stop: Callable[[], bool],
        progress: Callable[[], object] = lambda: None,
    ) -> bool:
        """Waits until `answers` says so; False when `stop` said so before.

        Args:
            answers: whether it does.
            seconds: how long it may show no sign.
            stop: whether the wait is called off.
            progress: its signs: as long as this changes, it is waited for.

        Raises:
            ProcessDied: it ended instead.
            StartTimeout: nothing happened for so long.
        """
        last, until = progress(), time.monotonic() + seconds
        while not answers():
            if stop():
                return False
            if not self.running:
                raise self.died()
            if (now := progress()) != last:
                last, until = now, time.monotonic() + seconds
            if time.monotonic() > until:
                raise StartTimeout(self.name, seconds)
            time.sleep(POLL_SECONDS)
        return True

    def stop(self, *, patience: Callable[[float], bool]) -> int:
        """Asks it to stop (SIGTERM) and waits; its exit code, negative for a signal.

        Args:
            patience: given the seconds waited so far, says whether to wait on; False ends the process (SIGKILL).
        """
        if self.running:
            self.process.terminate()
        began = time.monotonic()
        while True:
            try:
                return self.process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                if not patience(time.monotonic() - began):
                    self.process.kill()


def read_run_file(path: Path, pid: int) -> dict[str, Any] | None:
    """What the process `pid` has published in a run file; None as long as it has not."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return content if isinstance(content, dict) and content.get("pid") == pid else None
