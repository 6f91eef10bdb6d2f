"""What a query costs, before it is carried out: the fields that its answer can have, and what the engine is asked.

Each field costs 1, below a list as often as the list can be long; fields that ask the engine cost what `CALLS` says on
top. That fields may be left out (`@skip`), or stand twice, is not taken off: a cost is what it is at most.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    InlineFragmentNode,
    SchemaMetaFieldDef,
    TypeMetaFieldDef,
    TypeNameMetaFieldDef,
    get_argument_values,
    get_named_type,
    get_nullable_type,
    get_variable_values,
    is_composite_type,
    is_list_type,
)

from qenex.api.graphql.documents import ERRORS_MAX, Refused
from qenex.api.listings import LIMIT_MAX

if TYPE_CHECKING:
    from typing import Any

    from graphql import GraphQLField, GraphQLNamedType, GraphQLSchema, OperationDefinitionNode, SelectionSetNode
    from graphql.execution.values import VariableValues

    from qenex.api.graphql.documents import Document

COST_MAX: Final = 20_000
"""Of one request."""

CALLS: Final = {
    "Query.account": 10,
    "Query.accounts": 20,
    "Query.transfer": 10,
    "Query.transfers": 100,
    "Query.events": 500,
    "Query.trialBalance": 1_000,
    "Account.transactions": 20,
    "Account.transfers": 20,
    "Account.balanceAt": 2,
    "Account.balanceHistory": 20,
    "Transfer.debitAccount": 10,
    "Transfer.creditAccount": 10,
}
"""What fields cost that ask the engine: look-ups share calls, a list is a call of its own, others are many."""

_PAGES: Final = ("first", "last")
_LISTS: Final = {"Event.accounts": 2, "TrialBalance.assets": 20}
_LIST_OTHER: Final = 10
_COST_SHOWN_MAX: Final = 10**15


class Costs:
    """Knows the prices."""

    def __init__(self, schema: GraphQLSchema) -> None:
        """Takes the schema, to which lists of introspection are as long as they are."""
        self._schema = schema
        self._lists = _LISTS | _introspection(schema)

    def of(self, document: Document, operation: OperationDefinitionNode, variables: dict[str, Any]) -> int:
        """What an operation costs at most.

        Raises:
            Refused: too much, or its variables do not fit.
        """
        values = get_variable_values(self._schema, operation.variable_definitions or (), variables, ERRORS_MAX)
        if isinstance(values, list):
            raise Refused.unfit(*values)
        try:
            cost = ceil(_Count(self._schema, document, values, self._lists).operation(operation))
        except GraphQLError as error:
            raise Refused.unfit(error) from None
        if cost > COST_MAX:
            # A cost can have thousands of digits; nobody needs to know more than that it is far too much.
            raise Refused.too_complex("cost", COST_MAX, min(cost, _COST_SHOWN_MAX))
        return cost


class _Count:
    """Counts one operation."""

    def __init__(
        self, schema: GraphQLSchema, document: Document, values: VariableValues, lists: dict[str, float]
    ) -> None:
        self._schema, self._document, self._values, self._lists = schema, document, values, lists
        self._known: dict[tuple[str, str, int], float] = {}

    def operation(self, operation: OperationDefinitionNode) -> float:
        root = self._schema.get_root_type(operation.operation)
        if root is None:
            raise GraphQLError("There are only queries")
        return self._set(root, operation.selection_set, 0)

    def _set(self, parent: GraphQLNamedType, selections: SelectionSetNode, page: int) -> float:
        """What the fields of one object cost; `page` is how long the lists in it are, where it is a page."""
        cost = 0.0
        for node in selections.selections:
            for directive in node.directives or ():
                definition = self._schema.get_directive(directive.name.value)
                if definition is not None:
                    get_argument_values(definition, directive, self._values)
            if isinstance(node, FieldNode):
                cost += self._field(parent, node, page)
            elif isinstance(node, InlineFragmentNode):
                cost += self._set(parent, node.selection_set, page)
            elif isinstance(node, FragmentSpreadNode):
                cost += self._fragment(parent, node.name.value, page)
        return cost

    def _field(self, parent: GraphQLNamedType, node: FieldNode, page: int) -> float:
        field = self._definition(parent, node.name.value)
        arguments = get_argument_values(field, node, self._values)
        place = f"{parent.name}.{node.name.value}"
        cost = 1.0 + CALLS.get(place, 0)
        if node.selection_set is None:
            return cost
        kind = get_named_type(field.type)
        size = next((min(max(arguments[name], 0), LIMIT_MAX) for name in _PAGES if name in arguments), page)
        if not is_list_type(get_nullable_type(field.type)):
            return cost + self._set(kind, node.selection_set, size)
        often = self._lists.get(place) or size or _LIST_OTHER
        return cost + often * self._set(kind, node.selection_set, 0)

    def _fragment(self, parent: GraphQLNamedType, name: str, page: int) -> float:
        # A fragment that stands in a thousand places is counted once.
        key = name, parent.name, page
        if key not in self._known:
            self._known[key] = self._set(parent, self._document.fragments[name].selection_set, page)
        return self._known[key]

    def _definition(self, parent: GraphQLNamedType, name: str) -> GraphQLField:
        for known, definition in (
            ("__typename", TypeNameMetaFieldDef),
            ("__schema", SchemaMetaFieldDef),
            ("__type", TypeMetaFieldDef),
        ):
            if name == known:
                return definition
        assert isinstance(parent, GraphQLObjectType | GraphQLInterfaceType)  # noqa: S101  # the document fits the schema
        field: GraphQLField = parent.fields[name]
        return field


def _introspection(schema: GraphQLSchema) -> dict[str, float]:
    """How long lists of introspection are on average, so that what is asked of all types costs what it is."""
    types = list(schema.type_map.values())
    fields = [field for kind in types if is_composite_type(kind) for field in getattr(kind, "fields", {}).values()]
    inputs = [
        field for kind in types if hasattr(kind, "fields") and not is_composite_type(kind) for field in kind.fields
    ]
    values = [value for kind in types for value in getattr(kind, "values", {})]
    arguments = sum(len(field.args) for field in fields)
    return {
        "__Schema.types": len(types),
        "__Schema.directives": len(schema.directives),
        "__Type.fields": len(fields) / len(types),
        "__Type.inputFields": len(inputs) / len(types),
        "__Type.enumValues": len(values) / len(types),
        "__Type.interfaces": 1 / len(types),
        "__Type.possibleTypes": 1 / len(types),
        "__Field.args": arguments / len(fields),
        "__Directive.args": 1.0,
        "__Directive.locations": 4.0,
    }
