"""What is wrong in a policy is said with file and line before it is in force; what it can look at is known exactly."""

from __future__ import annotations

from pathlib import Path

import cedarpy
import pytest
from prometheus_client import CollectorRegistry

from qenex.adapters import policy_files
from qenex.adapters.cedar import Cedar
from qenex.adapters.policy_alarm import PolicyAlarm
from qenex.adapters.policy_files import PolicyFolders
from qenex.errors import InvalidPolicies
from qenex.principals import Action
from qenex.services.access.messages import PolicyFile, PolicySource
from qenex.services.access.rules.questions import KINDS, facts_of
from tests.unit.services.access.making import BOOK, LARGE, write

SCHEMA = PolicyFile("schema", (Path(__file__).parents[3] / "src/qenex/policies/schema.cedarschema").read_text("utf-8"))
NOTHING = PolicyFile("bands.toml", "")


def compiled(*texts: str, schema: PolicyFile = SCHEMA):  # noqa: ANN201  # the adapter's own
    files = tuple(PolicyFile(f"{at}.cedar", text) for at, text in enumerate(texts))
    return Cedar().compile(PolicySource(schema, files, (), NOTHING, frozenset()))


def complaint(*texts: str) -> str:
    with pytest.raises(InvalidPolicies) as caught:
        compiled(*texts)
    assert caught.value.values == {"complaints": caught.value.complaints}
    return str(caught.value)


def policy(head: str = "principal, action, resource", when: str = "true", name: str = "a") -> str:
    return f'@id("{name}")\npermit ({head})\nwhen {{ {when} }};\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("permit (principal, action resource);", "0.cedar:1: no Cedar policy: unexpected token `resource`"),
        (policy() + "// permit (\n\n" + policy(when='"x', name="b"), "0.cedar:6: no Cedar policy"),
        (policy(when="principal.name == 1"), "0.cedar:1: a: attribute `name` on entity type `Principal` not found"),
        (
            "\n" + policy() + policy(when="principal.id == 1", name="b"),
            "0.cedar:5: b: the types Long and String are not",
        ),
        (policy(when="context.band > 1"), "0.cedar:1: a: attribute `band` in context for Action::"),
        (policy(when="resource.party == principal.party"), "0.cedar:1: a: "),
        (policy("principal is Person, action, resource"), "0.cedar:1: a: unrecognized entity type `Person`"),
        (policy('principal, action == Action::"burn", resource'), "0.cedar:1: a: "),
        (
            policy('principal in Role::"boss", action, resource'),
            '0.cedar:1: a: there is no Role::"boss"; there are owner, ',
        ),
        (policy(when='principal in Role::"boss"'), '0.cedar:1: a: there is no Role::"boss"'),
        (
            policy("principal == ?principal, action, resource"),
            "0.cedar:1: a template (?principal, ?resource) applies to",
        ),
        ("permit (principal, action, resource);", '0.cedar:1: every policy has an @id("...")'),
        (policy(name="Not so"), '0.cedar:1: every policy has an @id("...")'),
        (policy() + policy(), "0.cedar:4: a is a policy in 0.cedar:1"),
        (policy(when="[1].contains(principal.id)"), "0.cedar:1: a: "),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, said: str) -> None:
    assert complaint(text).startswith(said)


def test_every_complaint_is_made_at_once() -> None:
    said = complaint(policy(), policy(), policy(name="b", when="context.nothing"), "permit").splitlines()
    assert [line.split(" ")[0] for line in said] == ["1.cedar:1:", "2.cedar:1:", "3.cedar:1:"]


def test_a_schema_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidPolicies, match="other:1: no schema"):
        compiled(policy(), schema=PolicyFile("other", "entity ;"))


def test_policies_know_where_they_stand_and_why() -> None:
    text = (
        '// @id("x") permit (\n'
        + policy()
        + '\n@reason("a; b: forbid (")\n@id("b")\nforbid(principal, action, resource);'
    )
    found = compiled(text).policies
    assert [(p.id, p.effect, p.reason, p.line) for p in found.values()] == [
        ("a", "permit", "", 2),
        ("b", "forbid", "a; b: forbid (", 6),
    ]


@pytest.mark.parametrize(
    ("head", "when", "facts"),
    [
        ("principal, action, resource", "true", set()),
        ('principal in Role::"owner", action, resource is Account', "resource.code == 1", {"resource.code"}),
        ("principal, action, resource", "principal has party", {"principal.party"}),
        ('principal == Principal::"usr_1", action, resource', "true", {"principal"}),
        ('principal in Principal::"usr_1", action, resource', "true", {"principal"}),
        ('principal, action, resource == Book::"x"', "true", {"resource"}),
        ("principal, action, resource", 'principal == Principal::"usr_1"', {"principal"}),
        ("principal, action, resource", 'principal in Role::"owner" && context.live', {"context.live"}),
        ("principal, action, resource", 'principal in [Role::"owner"]', set()),
        ("principal, action, resource", 'principal in [Role::"owner", Role::"auditor"]', set()),
        ("principal, action, resource", 'principal in Principal::"x"', {"principal"}),
        ("principal, action, resource", "resource is Account && context.live", {"context.live"}),
        (
            "principal, action, resource is Transfer",
            "resource.debit == resource.credit",
            {"resource.debit", "resource.credit"},
        ),
        ("principal, action, resource is Transfer", "resource.debit has party", {"resource.debit.party"}),
        (
            "principal, action, resource",
            '(if context.live then principal else principal).id == "x"',
            {"context.live", "principal"},
        ),
        ("principal, action, resource", "[principal.id].contains(principal.kind)", {"principal.id", "principal.kind"}),
        ("principal, action, resource", 'principal.id like "usr_*"', {"principal.id"}),
        ("principal, action, resource", "{a: principal.live}.a", {"principal.live"}),
    ],
)
def test_what_a_policy_looks_at_is_known(head: str, when: str, facts: set[str]) -> None:
    assert compiled(policy(head, when)).slice(frozenset({"owner"}), Action.TRANSFERS_READ).facts == facts


def test_only_what_cannot_apply_is_left_out() -> None:
    heads = [
        'principal in Role::"owner", action, resource',
        'principal in Role::"auditor", action, resource',
        'principal, action in Action::"read", resource',
        'principal, action == Action::"accounts:write", resource',
        'principal, action in [Action::"accounts:read", Action::"accounts:write"], resource',
        'principal is Principal in Role::"auditor", action, resource',
    ]
    found = compiled(*(policy(head, f'principal.id != "{at}"', f"p{at}") for at, head in enumerate(heads)))
    decided = {
        (role, action): found.slice(frozenset({role}), action)
        .ask(frozenset({role}), {"resource": "Account", "principal.id": "x"})
        .policies
        for role in ("owner", "auditor")
        for action in (Action.ACCOUNTS_READ, Action.ACCOUNTS_WRITE)
    }
    assert {key: set(value) for key, value in decided.items()} == {
        ("owner", Action.ACCOUNTS_READ): {"p0", "p2", "p4"},
        ("owner", Action.ACCOUNTS_WRITE): {"p0", "p3", "p4"},
        ("auditor", Action.ACCOUNTS_READ): {"p1", "p2", "p4", "p5"},
        ("auditor", Action.ACCOUNTS_WRITE): {"p1", "p3", "p4", "p5"},
    }


def test_a_fact_that_is_missing_by_mistake_is_an_error_and_no_permission() -> None:
    found = compiled(policy(), policy(name="b", when="principal.live"))
    verdict = found.slice(frozenset(), Action.BOOKS_READ).ask(frozenset(), {"resource": "Book"})
    assert not verdict.allowed
    assert "does not have the attribute `live`" in verdict.errors[0]


def test_facts_are_those_of_the_schema() -> None:
    """Cedar itself says so: a policy that looks at every fact of an action and a kind fits the schema."""
    optional = {"principal.party", "resource.party", "resource.debit.party", "resource.credit.party"}
    schema = cedarpy.Schema.from_str(SCHEMA.text)
    for action, kinds in KINDS.items():
        for kind in kinds:
            terms = []
            for name in sorted(facts_of(action, kind)):
                base, _, attribute = name.rpartition(".")
                guard = (
                    f"{base} has {attribute} && "
                    if name in optional and (kind, name) != ("Party", "resource.party")
                    else ""
                )
                terms.append(f"({guard}{name} == {name})")
            text = (
                f'permit (principal, action == Action::"{action}", resource is {kind}) when {{ {" && ".join(terms)} }};'
            )
            result = cedarpy.validate_policies(text, schema)
            assert result.validation_passed, (action, kind, result.errors)


def test_files_of_a_book_add_to_what_is_shipped(tmp_path: Path) -> None:
    alone = PolicyFolders(tmp_path).read(BOOK)
    assert all(file.name.startswith("qenex/policies/") for file in (*alone.policies, *alone.tests, alone.bands))
    assert alone.tested == {file.name for file in alone.policies}
    folder = write(tmp_path, large=LARGE, large_test="", bands="")
    source = PolicyFolders(tmp_path).read(BOOK)
    assert source.policies == (*alone.policies, PolicyFile(str(folder / "large.cedar"), LARGE))
    assert [file.name for file in source.tests] == [str(folder / "large.test.toml")]
    assert source.bands.name == str(folder / "bands.toml")
    assert source.tested == {str(folder / "large.cedar")}


def test_files_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> str:
        with pytest.raises(InvalidPolicies) as caught:
            PolicyFolders(tmp_path).read(BOOK)
        return str(caught.value)

    folder = write(tmp_path, large=LARGE)
    (folder / "notes.txt").touch()
    assert said() == f"{folder / 'notes.txt'}:1: is none of *.cedar, *.test.toml and bands.toml"
    (folder / "notes.txt").unlink()
    (folder / "large.cedar").write_bytes(b"// one\n// \xff\n")
    assert said() == f"{folder / 'large.cedar'}:2: is not UTF-8"
    (folder / "large.cedar").unlink()
    (folder / "large.cedar").mkdir()
    assert "large.cedar:1: cannot be read: Is a directory" in said()
    (folder / "large.cedar").rmdir()
    write(tmp_path, large=LARGE)
    monkeypatch.setattr(policy_files, "FILE_BYTES_MAX", 10)
    assert "is longer than 10 bytes" in said()


def test_an_alarm_counts_and_says_what_was_wrong(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    alarm = PolicyAlarm(registry)
    alarm.policies_failed(BOOK, "overflow" + "x" * 5_000)
    assert registry.get_sample_value("qenex_policy_failures_total") == 1
    (record,) = caplog.records
    assert f"policies of book {BOOK.hex()}: overflow" in record.getMessage()
    assert len(record.getMessage()) < 2_100
