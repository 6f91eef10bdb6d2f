"""What is wrong with the policies of a book."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qenex.errors.base import QenexError
from qenex.errors.inputs import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence


class InvalidPolicies(InvalidInput, code="invalid_policies", http_status=422):
    """Policies, their tests or their bands cannot be used as they are written.

    The message has one line for each thing that is wrong: file, line, what it is, what would be right.
    """

    def __init__(self, complaints: Sequence[object]) -> None:
        super().__init__("\n".join(map(str, complaints)))
        self.complaints = tuple(map(str, complaints))


class PolicyTestsFailed(QenexError, code="policy_tests_failed", http_status=422):
    """Policies decide otherwise than their tests expect."""

    def __init__(self, complaints: Sequence[object]) -> None:
        super().__init__("\n".join(map(str, complaints)))
        self.complaints = tuple(map(str, complaints))
