"""Documents before they are carried out: read, measured, held against the schema; and remembered by their text.

What is measured here needs no schema, and comes first, because it bounds what the later steps can cost. All of this is
the same for everybody, so that what one has sent may be remembered for all.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    parse,
    validate,
)
from strawberry.extensions import SchemaExtension

from qenex.errors import DocumentTooComplex, InvalidDocument, MalformedDocument

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from graphql import DocumentNode, GraphQLSchema, SelectionSetNode

    from qenex.errors import QenexError

TOKENS_MAX: Final = 2_000
"""Names, values and marks of a document."""
DEPTH_MAX: Final = 10
"""Fields inside one another."""
INTROSPECTION_DEPTH_MAX: Final = 16
"""The same below `__schema` and `__type`, where a usual tool asks for 15."""
ALIASES_MAX: Final = 100
"""Fields under another name, and fields that stand again beside themselves."""
ROOT_FIELDS_MAX: Final = 100
"""Fields of an operation."""
FRAGMENTS_MAX: Final = 50
"""Fragments of a document; each is compared with each."""
ERRORS_MAX: Final = 10
"""Of what does not fit the schema so much is named."""

REMEMBERED_MAX: Final = 256
"""Documents that are remembered."""
REMEMBERED_CHARACTERS_MAX: Final = 524_288
"""Characters of all of them; as trees they take about a hundred times as much."""

_INTROSPECTION: Final = ("__schema", "__type")
_MESSAGE_MAX: Final = 300


class Refused(Exception):
    """A document that is not carried out."""

    def __init__(self, *wrong: tuple[QenexError, GraphQLError | None]) -> None:
        """Takes what is wrong, and where in the document that is."""
        super().__init__(*(str(error) for error, _ in wrong))
        self.wrong = wrong

    @classmethod
    def unfit(cls, *errors: GraphQLError) -> Refused:
        """It does not fit the schema."""
        return cls(*((InvalidDocument(error.message[:_MESSAGE_MAX]), error) for error in errors))

    @classmethod
    def too_complex(cls, what: str, most: int, found: int | None = None) -> Refused:
        """There is too much of something."""
        return cls((DocumentTooComplex(what, most, found), None))


class Document(NamedTuple):
    """A document that fits the schema."""

    text: str
    tree: DocumentNode
    operations: list[OperationDefinitionNode]
    fragments: dict[str, FragmentDefinitionNode]

    def operation(self, name: str | None) -> OperationDefinitionNode:
        """The operation that is meant.

        Raises:
            Refused: there is none of this name, or several and no name.
        """
        for operation in self.operations:
            if name is None and len(self.operations) == 1:
                return operation
            if operation.name is not None and operation.name.value == name:
                return operation
        shown = "there are several operations" if name is None else f"there is no operation {name[:80]!r}"
        raise Refused((InvalidDocument(f"operationName: {shown}"), None))


class Documents:
    """Reads documents, those that are sent again only once."""

    def __init__(self, schema: GraphQLSchema) -> None:
        """Takes what they have to fit."""
        self._schema = schema
        self._known: OrderedDict[str, Document] = OrderedDict()
        self._characters = 0

    def __len__(self) -> int:
        return len(self._known)

    async def find(self, text: str) -> Document:
        """The document of a text.

        Raises:
            Refused: it cannot be read, is too large in some way, or does not fit the schema.
        """
        known = self._known.get(text)
        if known is not None:
            self._known.move_to_end(text)
            return known
        # A large document takes a while: meanwhile others have their turn.
        made = await asyncio.to_thread(self._make, text)
        if text not in self._known:
            self._characters += len(text)
        self._known[text] = made
        while len(self._known) > REMEMBERED_MAX or self._characters > REMEMBERED_CHARACTERS_MAX:
            forgotten, _ = self._known.popitem(last=False)
            self._characters -= len(forgotten)
        return made

    def _make(self, text: str) -> Document:
        try:
            tree = _parse(text)
            operations = [one for one in tree.definitions if isinstance(one, OperationDefinitionNode)]
            fragments = {one.name.value: one for one in tree.definitions if isinstance(one, FragmentDefinitionNode)}
            _measure(operations, fragments)
            wrong = validate(self._schema, tree, max_errors=ERRORS_MAX)
        except RecursionError:
            raise Refused.too_complex("depth", DEPTH_MAX) from None
        if wrong:
            raise Refused.unfit(*wrong)
        return Document(text, tree, operations, fragments)


class Prepared(SchemaExtension):
    """Carries out the document that was prepared for the request, rather than read its text again."""

    def on_operation(self) -> Iterator[None]:
        """As strawberry calls it."""
        execution = self.execution_context
        prepared: Any = execution.root_value
        execution.graphql_document = prepared.tree
        execution.validation_rules = ()
        yield


def _parse(text: str) -> DocumentNode:
    try:
        return parse(text, max_lexical_tokens=TOKENS_MAX, max_comments=TOKENS_MAX, allow_empty_selection_sets=False)
    except GraphQLError as error:
        if "Parsing aborted" in error.message:
            raise Refused.too_complex("tokens", TOKENS_MAX) from None
        raise Refused((MalformedDocument(error.message[:_MESSAGE_MAX]), error)) from None


def _measure(operations: Sequence[OperationDefinitionNode], fragments: dict[str, FragmentDefinitionNode]) -> None:
    _hold("fragments", len(fragments), FRAGMENTS_MAX)
    aliases = sum(_aliases(one.selection_set) for one in (*operations, *fragments.values()))
    _hold("aliases", aliases, ALIASES_MAX)
    shapes = _Shapes(fragments)
    for operation in operations:
        depth, width = shapes.of(operation.selection_set)
        _hold("depth", depth, DEPTH_MAX)
        _hold("root fields", width, ROOT_FIELDS_MAX)


def _hold(what: str, found: int, most: int) -> None:
    if found > most:
        raise Refused.too_complex(what, most, found)


def _aliases(selections: SelectionSetNode) -> int:
    count = 0
    waiting = [selections]
    while waiting:
        seen: set[str] = set()
        beside = [waiting.pop()]
        while beside:
            for node in beside.pop().selections:
                if isinstance(node, InlineFragmentNode):
                    beside.append(node.selection_set)
                elif isinstance(node, FieldNode):
                    count += node.alias is not None or node.name.value in seen
                    seen.add(node.name.value)
                    if node.selection_set is not None:
                        waiting.append(node.selection_set)
    return count


class _Shapes:
    """Depth and width of sets of fields, with the fragments in them; each fragment is looked at once."""

    def __init__(self, fragments: dict[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments
        self._known: dict[str, tuple[int, int]] = {}

    def of(self, selections: SelectionSetNode) -> tuple[int, int]:
        """How many fields stand inside one another at most, and how many beside one another."""
        depth = width = 0
        for node in selections.selections:
            if isinstance(node, FieldNode):
                inside, beside = self._below(node) + 1, 1
            elif isinstance(node, InlineFragmentNode):
                inside, beside = self.of(node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                inside, beside = self._fragment(node.name.value)
            depth, width = max(depth, inside), width + beside
        return depth, width

    def _below(self, field: FieldNode) -> int:
        if field.selection_set is None:
            return 0
        depth, _ = self.of(field.selection_set)
        if field.name.value in _INTROSPECTION:
            _hold("depth", depth, INTROSPECTION_DEPTH_MAX)
            return 0
        return depth

    def _fragment(self, name: str) -> tuple[int, int]:
        known = self._known.get(name)
        if known is None:
            # What leads back to itself counts for nothing here: that it does is found out by the validation.
            self._known[name] = 0, 0
            fragment = self._fragments.get(name)
            known = self._known[name] = self.of(fragment.selection_set) if fragment is not None else (0, 0)
        return known
