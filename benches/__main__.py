"""Runs the benchmarks: `python -m benches` all of them, `python -m benches NAME ...` those named.

Each file answers one question, prints its own table and can be run alone: `python -m benches.NAME`. Flags are passed on
to each: `python -m benches --quick` is a smoke test of all.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    """Run each bench in a process of its own, so that none warms another's caches."""
    folder = Path(__file__).parent
    known = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    first_flag = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    names, flags = words[:first_flag], words[first_flag:]
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no such bench: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    failed = [name for name in names or known if not _run(folder.parent, name, flags)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(root: Path, name: str, flags: list[str]) -> bool:
    return subprocess.run([sys.executable, "-m", f"benches.{name}", *flags], cwd=root, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
