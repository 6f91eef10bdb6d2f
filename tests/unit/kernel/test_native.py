"""The native module is loaded only when it is needed (that it is what its stub says is a matter of `make lint`)."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import process_environment

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = process_environment()
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_rows_numbers_and_addresses_need_no_native_module() -> None:
    done = run(
        "-c",
        "import sys; sys.modules['qenex.kernel._native'] = None\n"
        "from qenex import kernel\n"
        "assert kernel.to_address(1) and kernel.Account(id=1) and kernel.TRANSFER and kernel.from_ints([1]).size == 1\n"
        "try: kernel.Ledger\n"
        "except ImportError: print('only the ledger does')",
    )
    assert done.stdout == "only the ledger does\n", done.stderr


def test_an_unknown_name_is_said_to_be_unknown() -> None:
    done = run("-c", "from qenex import kernel; kernel.Lodger")
    assert "has no attribute 'Lodger'" in done.stderr
