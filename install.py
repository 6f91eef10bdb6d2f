"""Sets QENEX up on this machine: checks the tools, makes the environment, builds, makes the owner credential.

    python install.py            environment and native module, for running
    python install.py --init     the same, then the data folder and the owner credential
    python install.py --dev      the same as the first, with what the tests need
    python install.py --check    says what is missing and changes nothing

It needs Python 3.11, cargo and a C compiler, and can be run again at any time: what is done is not done twice.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("QENEX_VENV", ROOT / ".venv"))
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "qenex"
PYTHON = VENV / "bin" / "python"
RUST_AT_LEAST = (1, 95)
NODE_AT_LEAST = (20,)
PYTHON_AT_LEAST = (3, 11)
POSTGRESQL_AT_LEAST = (14,)


class SetupError(Exception):
    """Something on this machine stops the set-up; the text says what and what would help."""


def version_of(command: list[str]) -> tuple[int, ...] | None:
    """The first dotted number that `command` prints, or None where there is no such command."""
    if shutil.which(command[0]) is None:
        return None
    printed = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout
    found = re.search(r"(\d+(?:\.\d+)+)", printed)
    return tuple(int(part) for part in found.group(1).split(".")) if found else None


def postgresql_version() -> tuple[int, ...] | None:
    """Version of the newest PostgreSQL server; Debian keeps them out of PATH, one folder a version."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    return version_of([str(installed[-1]) if installed else "postgres", "--version"])


def missing(*, dev: bool) -> list[str]:
    """One line for each tool that is absent or too old."""
    lines = []
    if sys.version_info < PYTHON_AT_LEAST:
        lines.append(f"Python 3.11 or later is needed, this is {sys.version.split()[0]}")
    wanted = [
        (["cargo", "--version"], RUST_AT_LEAST, "Rust: https://rustup.rs"),
        (["cc", "--version"], (4,), "a C compiler: apt-get install gcc"),
    ]
    if dev:
        wanted += [
            (["node", "--version"], NODE_AT_LEAST, "Node.js: https://nodejs.org"),
            (["curl", "--version"], (7, 82), "curl, for the README's tour: apt-get install curl"),
            (["strace", "--version"], (5,), "strace, for the tests that inject faults: apt-get install strace"),
            (
                ["redis-server", "--version"],
                (6, 2),
                "Redis, for the tests of shared limits: apt-get install redis-server",
            ),
        ]
    for command, at_least, help_text in wanted:
        found = version_of(command)
        if found is None or found < at_least:
            have = ".".join(map(str, found)) if found else "none"
            lines.append(f"{command[0]} {'.'.join(map(str, at_least))} or later is needed, found {have} ({help_text})")
    if dev and (postgresql_version() or (0,)) < POSTGRESQL_AT_LEAST:
        lines.append("PostgreSQL 14 or later is needed, for the tests of the records: apt-get install postgresql")
    return lines


def require(absent: list[str]) -> None:
    """Stop here, with every missing tool at once, rather than one a try."""
    if absent:
        raise SetupError("this machine lacks:\n  " + "\n  ".join(absent))


def apt_install(packages: list[str]) -> None:
    """Install Debian packages where that needs no password; else leave it to the person, who is told by `missing`."""
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing {', '.join(packages)} from Debian's packages")
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], check=False)


def say(text: str) -> None:
    """One line of progress."""
    print(f"install: {text}", flush=True)


def run(command: list[str], **environment: str) -> None:
    """Run a step; its failure is ours."""
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=False)
    if done.returncode != 0:
        raise SetupError(f"`{' '.join(command)}` ended with {done.returncode}; its own words stand above")


def digest(*paths: Path) -> str:
    """SHA-256 over files, to tell whether a step has to be done again."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def make_environment() -> None:
    """The virtual environment with exactly what requirements.txt pins, by hash."""
    lock = ROOT / "requirements.txt"
    stamp = VENV / ".qenex-requirements"
    if stamp.exists() and stamp.read_text() == digest(lock):
        return
    say(f"making the Python environment in {VENV}")
    run([sys.executable, "-m", "venv", str(VENV)])
    run(
        [
            str(PYTHON),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
            str(lock),
        ]
    )
    stamp.write_text(digest(lock))


def native_sources() -> list[Path]:
    """Everything the native module is made from, in a stable order."""
    files = [ROOT / "Cargo.toml", ROOT / "Cargo.lock", ROOT / "pyproject.toml"]
    return files + sorted((ROOT / "crates").rglob("*.rs")) + sorted((ROOT / "crates").rglob("Cargo.toml"))


def build_native() -> None:
    """The Rust module, release build, and the `qenex` command, both in the environment."""
    stamp = VENV / ".qenex-native"
    wanted = digest(*native_sources())
    module = ROOT / "src" / "qenex" / "kernel" / "_native.abi3.so"
    if module.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    say("building the native module (the first time takes a minute or two)")
    # The module links to no libpython and must not depend on which interpreter happened to build a cached dependency.
    run(
        [str(PYTHON), "-m", "maturin", "develop", "--release", "--locked", "--quiet"],
        CARGO_TARGET_DIR=os.environ.get("CARGO_TARGET_DIR", str(CACHE / "target")),
        VIRTUAL_ENV=str(VENV),
        PIP_QUIET="1",
    )
    stamp.write_text(wanted)


def main() -> int:
    """Run the steps that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--init", action="store_true", help="also make the data folder and the owner credential")
    parser.add_argument("--dev", action="store_true", help="also check for what the tests need")
    parser.add_argument("--check", action="store_true", help="only say what is missing")
    asked = parser.parse_args()
    try:
        if asked.dev and not asked.check:
            absent = {package: shutil.which(package) is None for package in ("strace", "redis-server")}
            absent["postgresql"] = postgresql_version() is None
            apt_install([package for package, is_absent in absent.items() if is_absent])
        require(missing(dev=asked.dev))
        if asked.check:
            say("nothing is missing")
            return 0
        make_environment()
        build_native()
        if asked.init:
            run([str(PYTHON), "-m", "qenex.cli", "init"])
    except SetupError as error:
        print(f"install: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
