"""Cedar: compiles policies strictly against the schema, and evaluates those that can apply.

A policy's head names roles and actions, so most policies cannot apply to a request: `CedarPolicies.slice` leaves them
out, and says which facts the rest can look at. Only these are handed over. Should one be missing by mistake, Cedar
reports an error, and an error is a denial.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import cedarpy
import msgspec
from cedarpy import pst

from qenex.errors import InvalidPolicies
from qenex.principals import Action, Role
from qenex.services.access.messages import Complaint, PolicyFacts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qenex.services.access.messages import PolicyFile, PolicySource

_ENTITIES: Final = 1_024
"""Principals whose entities a slice keeps parsed."""
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_GROUPS: Final[Mapping[str, frozenset[str]]] = {
    verb: frozenset(action.value for action in Action if action.value.endswith(f":{verb}"))
    for verb in ("read", "write")
}
"""The groups of actions that the schema has."""


@dataclass(frozen=True, slots=True)
class CedarVerdict:
    """What Cedar answered."""

    allowed: bool
    policies: tuple[str, ...]
    errors: tuple[str, ...]


class Cedar:
    """The language of the policies."""

    def compile(self, source: PolicySource) -> CedarPolicies:
        """Parses and checks them strictly.

        Raises:
            InvalidPolicies: with file, line and what would be right.
        """
        try:
            schema = cedarpy.Schema.from_str(source.schema.text)
        except ValueError as error:
            raise InvalidPolicies([Complaint(source.schema.name, 1, f"no schema: {error}")]) from error
        complaints: list[Complaint] = []
        templates: dict[str, pst.Template] = {}
        facts: dict[str, PolicyFacts] = {}
        for file in source.policies:
            for line, found in _parse(file, schema, complaints):
                name = found.annotations.get("id", "")
                if name in templates:
                    there = facts[name]
                    complaints.append(Complaint(file.name, line, f"{name} is a policy in {there.file}:{there.line}"))
                    continue
                templates[name] = pst.Template(
                    name, found.effect, found.principal, found.action, found.resource, found.clauses, found.annotations
                )
                facts[name] = PolicyFacts(name, found.effect, found.annotations.get("reason", ""), file.name, line)
        if complaints:
            raise InvalidPolicies(complaints)
        return CedarPolicies(templates, facts)


class CedarPolicies:
    """A policy set that fits the schema."""

    def __init__(self, templates: Mapping[str, pst.Template], policies: Mapping[str, PolicyFacts]) -> None:
        self._templates, self.policies = templates, policies
        self._slices: dict[tuple[frozenset[str], Action], CedarSlice] = {}

    def slice(self, roles: frozenset[str], action: Action) -> CedarSlice:
        """The policies that can apply to these roles and this action."""
        found = self._slices.get((roles, action))
        if found is None:
            applying = {
                name: policy
                for name, policy in self._templates.items()
                if _can_be(policy.principal, roles) and _can_do(policy.action, action.value)
            }
            permits = any(self.policies[name].effect == "permit" for name in applying)
            found = self._slices[roles, action] = CedarSlice(applying, action, permits=permits)
        return found


class CedarSlice:
    """Some policies, parsed, and what they can look at."""

    def __init__(self, templates: Mapping[str, pst.Template], action: Action, *, permits: bool) -> None:
        self.permits = permits
        self._policies = cedarpy.PolicySet.from_pst(
            pst.PolicySet(pst.FrozenMap(), pst.FrozenMap(templates), template_links=())
        )
        self.facts = frozenset(path for policy in templates.values() for path in _looks_at(policy))
        self._looks_at_resource = any(path.partition(".")[0] == "resource" for path in self.facts)
        self._action = {"type": "Action", "id": action.value}
        group = action.value.rpartition(":")[2]
        self._actions = {"uid": self._action, "attrs": {}, "parents": [{"type": "Action", "id": group}]}
        self._base = lru_cache(maxsize=_ENTITIES)(self._principal_entities)

    def ask(self, roles: frozenset[str], facts: Mapping[str, object]) -> CedarVerdict:
        """Evaluates them."""
        principal = tuple((name, value) for name, value in facts.items() if name.startswith("principal."))
        kind = str(facts["resource"])
        # A side of which nothing is there to say is there all the same: `has` has to find it without what it asks for.
        attributes: dict[str, Any] = {"debit": {}, "credit": {}} if kind == "Transfer" else {}
        context: dict[str, object] = {}
        for name, value in facts.items():
            root, _, rest = name.partition(".")
            if root == "context":
                context[rest] = value
            elif root == "resource" and rest:
                side, _, field = rest.rpartition(".")
                (attributes[side] if side else attributes)[field] = value
        entities = self._base(roles, principal)
        # A resource is named as policies would name it where they can look at its name, else it needs none.
        resource = {"type": kind, "id": str(attributes.get("address") or attributes.get("party") or "-")}
        if self._looks_at_resource:
            delta = [{"uid": resource, "attrs": attributes, "parents": []}]
            entities = entities.with_added_json_str(msgspec.json.encode(delta).decode())
        request = {
            "principal": {"type": "Principal", "id": str(facts.get("principal.id", "-"))},
            "action": self._action,
            "resource": resource,
            "context": msgspec.json.encode(context).decode(),
        }
        answer = cedarpy.is_authorized(request, self._policies, entities)
        errors = tuple(answer.diagnostics.errors)
        if not errors and answer.decision is cedarpy.Decision.NoDecision:
            errors = ("Cedar made no decision",)
        return CedarVerdict(answer.allowed and not errors, tuple(answer.diagnostics.reasons), errors)

    def _principal_entities(self, roles: frozenset[str], facts: tuple[tuple[str, object], ...]) -> cedarpy.Entities:
        values = {name.partition(".")[2]: value for name, value in facts}
        principal = {
            "uid": {"type": "Principal", "id": str(values.get("id", "-"))},
            "attrs": values,
            "parents": [{"type": "Role", "id": role} for role in sorted(roles)],
        }
        return cedarpy.Entities.from_json_str(msgspec.json.encode([principal, self._actions]).decode())


def _parse(file: PolicyFile, schema: cedarpy.Schema, complaints: list[Complaint]) -> Iterator[tuple[int, pst.Template]]:
    """The policies of one file, each with its line. What is wrong with them is added to `complaints`."""
    try:
        found = cedarpy.policies_to_pst(file.text)
    except ValueError as error:
        complaints.append(Complaint(file.name, _line_of_syntax(file.text), f"no Cedar policy: {error}"))
        return
    lines = _lines(file.text)
    starts = {name: lines[at] if at < len(lines) else 1 for at, name in enumerate(_in_order(found))}
    useless = "a template (?principal, ?resource) applies to nobody: write the policy out"
    complaints += (Complaint(file.name, starts[name], useless) for name in found.templates)
    complaints += _misfits(file, schema, starts)
    for name, policy in found.static_policies.items():
        if not _ID.fullmatch(policy.annotations.get("id", "")):
            text = 'every policy has an @id("...") of 1 to 64 small letters, digits and dashes'
            complaints.append(Complaint(file.name, starts[name], text))
            continue
        for complaint in _unknown_names(policy):
            complaints.append(Complaint(file.name, starts[name], f"{policy.annotations['id']}: {complaint}"))
        yield starts[name], policy


def _misfits(file: PolicyFile, schema: cedarpy.Schema, starts: Mapping[str, int]) -> Iterator[Complaint]:
    """What does not fit the schema; of each policy the first, for Cedar says it again for every action and kind."""
    result = cedarpy.validate_policies(file.text, schema)
    named: set[str] = set()
    for problem in result.errors:
        name = problem.policy_id
        if name not in named:
            named.add(name)
            text = problem.error.removeprefix(f"for policy `{name}`, ")
            title = result.id_annotations_by_policy_id.get(name, name)
            yield Complaint(file.name, starts.get(name, 1), f"{title}: {text}")


def _unknown_names(policy: pst.Template) -> Iterator[str]:
    """Names that the schema cannot know: there is no list of roles in it."""
    known = [role.value for role in Role]
    for entity in pst.entity_uids(policy):
        if str(entity.type) == "Role" and entity.id not in known:
            yield f'there is no Role::"{entity.id}"; there are {", ".join(known)}'


def _in_order(found: pst.PolicySet) -> list[str]:
    """Cedar numbers the policies of a text from the first to the last."""
    return sorted((*found.static_policies, *found.templates), key=lambda name: int(name.removeprefix("policy")))


_TOKEN: Final = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"|[;@]|\b(?:permit|forbid)\b(?=\s*\()')


def _lines(text: str) -> list[int]:
    """The line on which each policy begins: the first annotation or effect after the end of the one before."""
    lines, begins = [], True
    for token in _TOKEN.finditer(text):
        if token[0] == ";":
            begins = True
        elif begins and token[0][0] not in '/"':
            lines.append(text.count("\n", 0, token.start()) + 1)
            begins = False
    return lines


def _line_of_syntax(text: str) -> int:
    """The line of the first policy that does not parse by itself."""
    starts = _lines(text)
    rows = text.splitlines()
    for at, start in enumerate(starts):
        end = starts[at + 1] - 1 if at + 1 < len(starts) else len(rows)
        try:
            cedarpy.policies_to_pst("\n".join(rows[start - 1 : end]))
        except ValueError:
            return start
    return 1


def _can_be(scope: pst.PrincipalOrResourceConstraint, roles: frozenset[str]) -> bool:
    """Whether a principal with these roles can match; only a role that it has not rules it out."""
    if isinstance(scope, pst.ScopeIn | pst.ScopeIsIn) and isinstance(scope.entity, pst.EntityUid):
        return str(scope.entity.type) != "Role" or scope.entity.id in roles
    return True


def _can_do(scope: pst.ActionConstraint, action: str) -> bool:
    if isinstance(scope, pst.ActionEq):
        return scope.entity.id == action
    if isinstance(scope, pst.ActionIn):
        return any(entity.id == action or action in _GROUPS.get(entity.id, ()) for entity in scope.entities)
    return True


def _looks_at(policy: pst.Template) -> Iterator[str]:
    """Paths of all that a policy can look at; `principal` or `resource` alone is every fact of it."""
    if _names_a_principal(policy.principal):
        yield "principal"
    if isinstance(policy.resource, pst.ScopeEq | pst.ScopeIn | pst.ScopeIsIn):
        yield "resource"
    for clause in policy.clauses:
        yield from _paths(clause.expr)


def _names_a_principal(scope: pst.PrincipalOrResourceConstraint) -> bool:
    entity = getattr(scope, "entity", None)
    return isinstance(entity, pst.EntityUid) and str(entity.type) != "Role"


def _paths(node: Any) -> Iterator[str]:  # noqa: ANN401  # any node of the tree, and what its fields hold
    path = _path(node)
    if path is not None:
        yield path
    elif isinstance(node, pst.HasAttr) and (base := _path(node.base)) is not None:
        yield ".".join((base, *node.attrs))
    elif isinstance(node, pst.Is) and isinstance(node.base, pst.Var) and node.in_expr is None:
        return  # the kind of a resource is always known
    elif isinstance(node, pst.BinaryOp) and node.op == "in" and _is_role_question(node):
        return  # and so are the roles
    elif isinstance(node, tuple):
        for each in node:
            yield from _paths(each)
    elif isinstance(node, dict):
        for each in node.values():
            yield from _paths(each)
    elif hasattr(node, "__dataclass_fields__"):
        for name in node.__dataclass_fields__:
            yield from _paths(getattr(node, name))


def _path(node: object) -> str | None:
    if isinstance(node, pst.Var):
        return node.name
    if isinstance(node, pst.GetAttr) and (base := _path(node.base)) is not None:
        return f"{base}.{node.attr}"
    return None


def _is_role_question(node: pst.BinaryOp) -> bool:
    """`principal in Role::"..."`, or in a set of them."""
    right = node.right.elements if isinstance(node.right, pst.Set) else (node.right,)
    return node.left == pst.Var("principal") and all(
        isinstance(each, pst.EntityLit) and str(each.value.type) == "Role" for each in right
    )
