"""The document of the stream is current, and the events are as it says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qenex.api import models
from qenex.api.stream import asyncapi, messages

if TYPE_CHECKING:
    from tests.unit.api.conftest import Api

SPEC = Path(__file__).parents[3] / "spec" / "asyncapi.json"


def test_the_copy_in_spec_is_current() -> None:
    assert SPEC.read_text(encoding="utf-8") == asyncapi.text(), (
        "python -m qenex.api.stream.asyncapi > spec/asyncapi.json"
    )


def test_every_reference_leads_somewhere() -> None:
    document = asyncapi.document()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                found: object = document
                for part in value["$ref"].removeprefix("#/").split("/"):
                    assert isinstance(found, dict)
                    found = found[part]
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(document)
    assert {*document["channels"]["stream"]["messages"]} == {*document["components"]["messages"]}


async def test_events_of_every_kind_are_as_described(api: Api) -> None:
    payer, payee = await api.account(), await api.account(user_data_128="7")
    assert (await api.transfer(payer, payee, "1")).status_code == 201
    holds = [(await api.transfer(payer, payee, "2", pending=True)).json()["id"] for _ in range(2)]
    assert (await api.http.post(f"/api/v1/transactions/{holds[0]}/post", json={})).status_code == 201
    assert (await api.http.post(f"/api/v1/transactions/{holds[1]}/void", json={})).status_code == 201
    page = models.EventPage.model_validate((await api.http.get("/api/v1/events")).json())
    assert [event.type for event in page.items] == [
        *("transfer_posted", "hold_created", "hold_created", "hold_posted", "hold_voided")
    ]
    assert page.items[3].transfer.pending_id == holds[0]
    messages.Events(type="events", events=page.items, position=page.position)
