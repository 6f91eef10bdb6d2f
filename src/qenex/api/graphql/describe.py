"""Docstrings as the schema's descriptions, so that each is written once."""

from __future__ import annotations

from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Final, NewType, TypeVar, dataclass_transform

import strawberry
from graphql import GraphQLError

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import Enum

    from strawberry.types.scalar import ScalarDefinition

T = TypeVar("T")
E = TypeVar("E", bound="Enum")

WholeNumber = NewType("WholeNumber", int)
"""GraphQL's own `Int` has 31 bits, which is not enough for a ledger number."""

_MOST: Final = (1 << 53) - 1


def _whole_number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST:
        return value
    raise GraphQLError("WholeNumber is a number from 0 to 2^53-1, without point and exponent")


SCALARS: Final[dict[object, ScalarDefinition]] = {
    WholeNumber: strawberry.scalar(
        name="WholeNumber",
        description="A number from 0 to 2^53-1, without point and exponent.",
        parse_value=_whole_number,
    )
}
"""Scalars of our own."""


@dataclass_transform(kw_only_default=True, field_specifiers=(strawberry.field,))
def described(kind: type[T]) -> type[T]:
    """A type of the schema, with its docstring as description."""
    return strawberry.type(kind, description=cleandoc(kind.__doc__ or ""))


@dataclass_transform(kw_only_default=True, field_specifiers=(strawberry.field,))
def described_input(kind: type[T]) -> type[T]:
    """An input type of the schema, with its docstring as description."""
    return strawberry.input(kind, description=cleandoc(kind.__doc__ or ""))


def described_enum(kind: type[E]) -> type[E]:
    """An enumeration of the schema, with its docstring as description."""
    return strawberry.enum(kind, description=cleandoc(kind.__doc__ or ""))


def resolved(resolver: Callable[..., Any]) -> Any:  # noqa: ANN401  # strawberry's own descriptor
    """A field of the schema that is worked out when it is asked for, with the resolver's docstring as description."""
    return strawberry.field(resolver, description=cleandoc(resolver.__doc__ or ""))
