"""Runs the benchmarks: `python -m benches` all of them, `python -m benches NAME ...` those named.

Each file answers one question, prints its own table and can be run alone: `python -m benches.NAME`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(names: list[str]) -> int:
    """Run each bench in a process of its own, so that none warms another's caches."""
    folder = Path(__file__).parent
    known = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no such bench: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    failed = [
        name
        for name in names or known
        if subprocess.run([sys.executable, "-m", f"benches.{name}"], cwd=folder.parent, check=False).returncode != 0
    ]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
