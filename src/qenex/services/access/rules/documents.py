"""TOML files, with the line of what is wrong in them."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from qenex.errors import InvalidPolicies
from qenex.services.access.messages import Complaint

if TYPE_CHECKING:
    from qenex.services.access.messages import PolicyFile


def read_toml(file: PolicyFile) -> dict[str, Any]:
    """The document of a file.

    Raises:
        InvalidPolicies: it is no TOML.
    """
    try:
        return tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else len(file.text.splitlines())
        raise InvalidPolicies([Complaint(file.name, line, f"no TOML: {error}")]) from error
