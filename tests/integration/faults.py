"""What makes the system calls of a running engine fail or lie: strace, a library before libc, a small file system."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.conftest import START_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOW_TO_TRACE: Final = "the tests that inject faults need strace and the right to trace: `python install.py --dev`"


class Tracer:
    """An strace on all threads of a process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stderr is not None
        self.lines: list[str] = []
        self._attached = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self._attached.wait(START_SECONDS), f"{HOW_TO_TRACE}\n{''.join(self.lines)}"

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)
            if " attached" in line:
                self._attached.set()

    def end(self) -> None:
        """Lets go of the process, which lives on."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait(START_SECONDS)
        self._reader.join(START_SECONDS)

    @property
    def injected(self) -> int:
        """Calls that were tampered with."""
        return sum("INJECTED" in line for line in self.lines)


@contextmanager
def injected(pid: int, calls: str, what: str, *, path: Path | None = None) -> Iterator[Tracer]:
    """System calls of a running process fail, as long as this lasts.

    Args:
        pid: of the process.
        calls: their names, `fdatasync` or `pwrite64,write`.
        what: for strace: `error=EIO`, `error=EINTR:when=1+3`.
        path: only calls on this file.
    """
    only = [] if path is None else ["-P", str(path)]
    command = ["strace", "-f", "-e", f"trace={calls}", "-e", f"inject={calls}:{what}", *only, "-p", str(pid)]
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        pytest.fail(HOW_TO_TRACE)
    with process:
        tracer = Tracer(process)
        try:
            yield tracer
        finally:
            tracer.end()


SHORT_CALLS: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <unistd.h>

typedef ssize_t (*writer)(int, const void *, size_t, off_t);
typedef ssize_t (*reader)(int, void *, size_t, off_t);
static atomic_uint calls;

/* Of every three calls one does a block less, one a few bytes, one all: as a signal or a quota may have it. */
static size_t shortened(size_t count) {
    unsigned turn = atomic_fetch_add(&calls, 1) % 3;
    if (turn == 0 && count > 4096) return count - 4096;
    if (turn == 1 && count > 1) return count < 1000 ? count / 2 : 1000;
    return count;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off_t offset) {
    static writer real;
    if (!real) real = (writer)dlsym(RTLD_NEXT, "pwrite64");
    ssize_t done = real(file, bytes, shortened(count), offset);
    /* Direct writes are whole blocks or nothing. */
    return done < 0 && errno == EINVAL ? real(file, bytes, count, offset) : done;
}

ssize_t pread64(int file, void *bytes, size_t count, off_t offset) {
    static reader real;
    if (!real) real = (reader)dlsym(RTLD_NEXT, "pread64");
    ssize_t done = real(file, bytes, shortened(count), offset);
    return done < 0 && errno == EINVAL ? real(file, bytes, count, offset) : done;
}
"""
"""Reads and writes that do less than they were asked for, which they may."""


def library_of_short_calls(folder: Path) -> Path:
    """A library for LD_PRELOAD."""
    return _library(folder / "short", SHORT_CALLS)


OTHER_CLOCK: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/timex.h>
#include <time.h>

typedef int (*teller)(clockid_t, struct timespec *);

int clock_gettime(clockid_t clock, struct timespec *time) {
    static teller real;
    if (!real) real = (teller)dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, time);
    const char *ahead = getenv("CLOCK_AHEAD_S");
    if (!failed && clock == CLOCK_REALTIME && ahead) time->tv_sec += atol(ahead);
    return failed;
}

int adjtimex(struct timex *state) {
    state->status = STA_UNSYNC;
    return TIME_ERROR;
}
"""
"""A wall clock that nobody has synchronised, and that is wrong by so many seconds."""


def other_clock(folder: Path, ahead_s: int = 0) -> dict[str, str]:
    """Variables that give a process a wall clock of its own, on a machine that says it is not synchronised."""
    return {"LD_PRELOAD": str(_library(folder / "clock", OTHER_CLOCK)), "CLOCK_AHEAD_S": str(ahead_s)}


FULL_DISK: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

typedef ssize_t (*writer)(int, const void *, size_t);
typedef ssize_t (*writer_at)(int, const void *, size_t, off_t);

/* What was allocated can be written again; the streams of the process go elsewhere. */
static int grows(int file, off_t end) {
    struct stat status;
    return file > 2 && !fstat(file, &status) && S_ISREG(status.st_mode) && end > status.st_size;
}

static ssize_t full(void) {
    errno = ENOSPC;
    return -1;
}

ssize_t write(int file, const void *bytes, size_t count) {
    static writer real;
    if (!real) real = (writer)dlsym(RTLD_NEXT, "write");
    return grows(file, lseek(file, 0, SEEK_CUR) + (off_t)count) ? full() : real(file, bytes, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off_t offset) {
    static writer_at real;
    if (!real) real = (writer_at)dlsym(RTLD_NEXT, "pwrite64");
    return grows(file, offset + (off_t)count) ? full() : real(file, bytes, count, offset);
}
"""
"""No file can grow."""


def full_disk(folder: Path) -> dict[str, str]:
    """Variables with which a process and its children find every disk full."""
    return {"LD_PRELOAD": str(_library(folder / "full", FULL_DISK)), "PYTHONDONTWRITEBYTECODE": "1"}


def _library(path: Path, program: str) -> Path:
    source, library = path.with_suffix(".c"), path.with_suffix(".so")
    source.write_text(program, encoding="ascii")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


class SmallDisk:
    """A file system of its own, so small that it can be filled."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", folder], check=True)

    def fill(self) -> None:
        """Takes all the space that is left."""
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            block = bytes(1 << 16)
            try:
                while ballast.write(block):
                    pass
            except OSError as error:
                assert error.errno == 28, error  # noqa: PT017  # that it ends so is how it ends

    def free(self) -> None:
        """Gives it back."""
        (self.folder / "ballast").unlink()

    def end(self) -> None:
        subprocess.run(["umount", self.folder], check=True)


def may_mount() -> bool:
    """Whether this process may have a file system of its own."""
    if os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode == 0
