"""What this project says of the tools that it needs is the same in each place, and true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import install

ROOT = Path(__file__).parents[2]


def test_the_node_that_is_asked_for_runs_all_that_is_pinned_for_it() -> None:
    (at_least,) = install.NODE_AT_LEAST
    package = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    assert package["engines"]["node"] == f">={at_least}"
    assert re.findall(r"Node\.js (\d+)", (ROOT / "README.md").read_text(encoding="utf-8")) == [str(at_least)]
    pinned = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    asked = {name: one["engines"]["node"] for name, one in pinned.items() if "node" in one.get("engines", {})}
    wanted = {name: re.fullmatch(r">= ?(\d+)(?:\.\d+)*", text) for name, text in asked.items()}
    assert all(wanted.values()), asked
    assert max(int(found[1]) for found in wanted.values() if found) <= at_least


def test_the_lock_names_no_registry() -> None:
    assert "://registry" not in (ROOT / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in (ROOT / "package-lock.json").read_text(encoding="utf-8")
