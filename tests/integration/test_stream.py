"""The stream in front of a real engine: nothing is missed, nothing comes twice, nobody is believed without proof."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from qenex.api.stream import socket as stream_socket
from tests.conftest import START_SECONDS
from tests.integration.test_http import Instance, start_instance

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = start_instance(tmp_path_factory.mktemp("stream"))
    yield instance
    instance.end()


class Listener:
    """A client of the stream."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.position = ""

    def say(self, **message: Any) -> dict[str, Any]:
        """Says something; what is answered."""
        self.connection.send(json.dumps(message))
        return self.hear()

    def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.connection.recv(timeout=START_SECONDS))
        self.position = message.get("position", self.position)
        return message

    def events(self, count: int) -> list[dict[str, Any]]:
        """The next events, so many or, where a frame has more, a few more."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            message = self.hear()
            assert message["type"] == "events", message
            found += message["events"]
        return found


def listen(instance: Instance, **named: Any) -> ClientConnection:
    return connect(f"ws://{instance.http.address}/v1/stream", **named)


def known(instance: Instance, connection: ClientConnection) -> Listener:
    listener = Listener(connection)
    answer = listener.say(type="authenticate", credential=instance.http.token)
    assert (answer["type"], answer["principal"]) == ("authenticated", "owner")
    return listener


def hashes_of(events: list[dict[str, Any]]) -> list[str]:
    return [event["transfer"]["id"] for event in events]


def pay(instance: Instance, count: int) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    payer, payee = instance.account(), instance.account()
    made = [instance.made(instance.pay(payer, payee, f"{number}.25"))["id"] for number in range(1, count + 1)]
    return made, payer, payee


def test_an_account_is_heard_of_as_it_changes(shared: Instance) -> None:
    payer, payee = shared.account(), shared.account()
    with listen(shared) as connection:
        listener = known(shared, connection)
        answer = listener.say(type="subscribe", topics=[f"accounts/{payee['address']}"])
        assert answer["topics"] == [f"accounts/{payee['address']}"]
        shared.made(shared.pay(payer, shared.account(), "7"))
        shared.made(shared.pay(payer, payee, "12.50"))
        (event,) = listener.events(1)
    assert event["type"] == "transfer_posted"
    assert (event["transfer"]["amount"], event["transfer"]["token"]) == ("12.50", "EUR")
    assert [side["balance"]["posted"] for side in event["accounts"]] == ["-19.50", "12.50"]
    assert event["accounts"][1]["address"] == payee["address"]


def test_every_phase_of_a_hold_is_an_event(shared: Instance) -> None:
    payer, payee = shared.account(), shared.account()
    with listen(
        shared,
    ) as connection:
        listener = known(shared, connection)
        listener.say(type="subscribe", topics=[f"accounts/{payer['address']}", f"accounts/{payee['address']}"])
        holds = [shared.made(shared.pay(payer, payee, "5", pending=True))["id"] for _ in range(2)]
        shared.made(shared.client.post(f"/api/v1/transactions/{holds[0]}/post", json={"amount": "3"}))
        shared.made(shared.client.post(f"/api/v1/transactions/{holds[1]}/void", json={}))
        shared.made(shared.pay(payer, payee, "1", pending=True, timeout=1))
        events = listener.events(6)
    assert [event["type"] for event in events] == [
        *("hold_created", "hold_created", "hold_posted", "hold_voided", "hold_created", "hold_expired")
    ]
    assert events[2]["transfer"]["amount"] == "3.00"
    assert events[-1]["accounts"][0]["balance"]["debits_pending"] == "0.00"


def test_a_position_goes_on_without_gap_or_double(shared: Instance) -> None:
    with listen(shared) as connection:
        position = known(shared, connection).say(type="subscribe", topics=["all"])["position"]
    first, payer, payee = pay(shared, 5)
    with listen(shared) as connection:
        listener = known(shared, connection)
        listener.say(type="subscribe", topics=["all"], after=position)
        heard = listener.events(5)
        second = [shared.made(shared.pay(payer, payee, "1"))["id"] for _ in range(3)]
        heard += listener.events(3)
        after_all = listener.position
    assert hashes_of(heard) == first + second
    page = shared.get("/events", after=position, limit=4)
    assert hashes_of(page["items"]) == first[:4]
    assert page["more"]
    rest = shared.get("/events", after=page["position"])
    assert hashes_of(rest["items"]) == first[4:] + second
    assert not rest["more"]
    assert shared.get("/events", after=after_all)["items"] == []


def test_while_money_moves_who_comes_late_misses_nothing(shared: Instance) -> None:
    with listen(shared) as connection:
        position = known(shared, connection).say(type="subscribe", topics=["assets/EUR"])["position"]
    made, payer, payee = pay(shared, 20)
    heard = []
    for _ in range(10):
        with listen(shared) as connection:
            listener = known(shared, connection)
            listener.say(type="subscribe", topics=["assets/EUR"], after=position)
            made.append(shared.made(shared.pay(payer, payee, "2"))["id"])
            heard += listener.events(len(made) - len(heard))
            position = listener.position
    assert hashes_of(heard) == made


def test_an_event_that_two_topics_hear_of_comes_once(shared: Instance) -> None:
    payer, payee = shared.account(), shared.account()
    with listen(shared) as connection:
        listener = known(shared, connection)
        topics = [f"accounts/{payer['address']}", f"accounts/{payee['id']}", "assets/EUR", "all"]
        listener.say(type="subscribe", topics=topics)
        made = [shared.made(shared.pay(payer, payee, "1"))["id"] for _ in range(2)]
        heard = listener.events(2)
        assert hashes_of(heard) == made
        assert listener.say(type="unsubscribe")["type"] == "unsubscribed"
        shared.made(shared.pay(payer, payee, "1"))
        listener.say(type="subscribe", topics=[f"accounts/{payee['address']}"])
        last = shared.made(shared.pay(payer, payee, "1"))["id"]
        assert hashes_of(listener.events(1)) == [last]


def test_the_engine_gone_and_back_is_no_gap(tmp_path_factory: pytest.TempPathFactory) -> None:
    instance = start_instance(tmp_path_factory.mktemp("back"))
    try:
        with listen(instance) as connection:
            listener = known(instance, connection)
            listener.say(type="subscribe", topics=["all"])
            made, payer, payee = pay(instance, 2)
            assert instance.engine.stop() == 0
            instance.engine.start()
            answer = instance.pay(payer, payee, "1", key="after")
            while answer.status_code in (503, 504):
                answer = instance.pay(payer, payee, "1", key="after")
            made.append(instance.made(answer)["id"])
            assert hashes_of(listener.events(3)) == made
    finally:
        instance.end()


def test_a_ticket_opens_one_stream_once(shared: Instance) -> None:
    ticket = shared.made(shared.client.post("/api/v1/stream/tickets"))["ticket"]
    with listen(shared) as connection:
        assert Listener(connection).say(type="authenticate", ticket=ticket)["type"] == "authenticated"
    with listen(shared) as connection:
        assert Listener(connection).say(type="authenticate", ticket=ticket)["problem"]["code"] == "unauthenticated"
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=START_SECONDS)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == stream_socket.UNAUTHENTICATED


@pytest.mark.parametrize(
    "message",
    [
        {"type": "subscribe", "topics": ["all"]},
        {"type": "authenticate", "credential": "qnx_owner_" + "0" * 64},
        {"type": "authenticate", "credential": ""},
        {"type": "authenticate", "credential": "ü"},
        {"type": "authenticate", "ticket": "qnx_ticket_"},
    ],
)
def test_nothing_is_heard_without_a_credential(shared: Instance, message: dict[str, Any]) -> None:
    with listen(shared) as connection:
        assert Listener(connection).say(**message)["problem"]["code"] == "unauthenticated"
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=START_SECONDS)


def test_a_credential_in_the_address_opens_nothing(shared: Instance) -> None:
    with connect(f"ws://{shared.http.address}/v1/stream?token={shared.http.token}") as connection:
        answer = Listener(connection).say(type="subscribe", topics=["all"])
    assert answer["problem"]["code"] == "unauthenticated"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "file://"])
def test_a_page_of_another_site_opens_nothing(shared: Instance, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        listen(shared, origin=origin)
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body or b"")["code"] == "origin_refused"


def test_our_own_page_opens_the_stream(shared: Instance) -> None:
    with listen(shared, origin=f"http://{shared.http.address}") as connection:
        known(shared, connection)
    with connect(f"ws://{shared.http.address}/api/v1/stream") as connection:
        known(shared, connection)


def test_there_is_one_stream_and_no_other(shared: Instance) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{shared.http.address}/api/v1/accounts")
    assert json.loads(refused.value.response.body or b"")["code"] == "route_not_found"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "dance"}, "invalid_field"),
        ({"type": "subscribe"}, "missing_field"),
        ({"type": "subscribe", "topics": []}, "invalid_field"),
        ({"type": "subscribe", "topics": ["accounts/"]}, "invalid_field"),
        ({"type": "subscribe", "topics": ["accounts/1"]}, "account_not_found"),
        ({"type": "subscribe", "topics": ["accounts/zzz"]}, "invalid_id"),
        ({"type": "subscribe", "topics": ["assets/NONE"]}, "unknown_asset"),
        ({"type": "subscribe", "topics": ["all"] * 257}, "invalid_field"),
        ({"type": "subscribe", "topics": ["all"], "after": "x"}, "invalid_cursor"),
        ({"type": "subscribe", "topics": ["all"], "since": "x"}, "unknown_field"),
        ({"type": "authenticate", "ticket": "again"}, "invalid_field"),
    ],
)
def test_what_is_wrong_is_said_and_the_stream_goes_on(shared: Instance, message: dict[str, Any], code: str) -> None:
    with listen(shared) as connection:
        listener = known(shared, connection)
        assert listener.say(**message)["problem"]["code"] == code
        assert listener.say(type="subscribe", topics=["all"])["type"] == "subscribed"


@pytest.mark.parametrize("text", ["[]", "{", '{"type":"a","type":"b"}', "1e400", "NaN", '{"type":' + "[" * 40 + "}"])
def test_what_is_no_message_is_refused(shared: Instance, text: str) -> None:
    with listen(shared) as connection:
        listener = known(shared, connection)
        connection.send(text)
        assert listener.hear()["type"] == "error"


def test_a_message_too_large_ends_the_stream(shared: Instance) -> None:
    with listen(shared) as connection:
        known(shared, connection)
        connection.send("x" * (stream_socket.MESSAGE_BYTES_MAX + 1))
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=START_SECONDS)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1_009


def test_who_reads_slowly_gets_everything_and_holds_up_nobody(shared: Instance) -> None:
    """A client that reads nothing while more happens than its socket and our buffer hold."""
    host, _, port = shared.http.address.rpartition(":")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    slow.connect((host, int(port)))
    with listen(shared, sock=slow, max_queue=1, ping_interval=None) as connection, listen(shared) as other:
        listener, quick = known(shared, connection), known(shared, other)
        listener.say(type="subscribe", topics=["all"])
        quick.say(type="subscribe", topics=["all"])
        payer, payee = shared.account(), shared.account()
        rows = [{"from": payer["address"], "to": payee["address"], "amount": "1", "token": "EUR"}] * 2_000
        made = []
        for _ in range(5):
            answer = shared.client.post("/api/v1/transactions", json={"transactions": rows})
            made += [result["id"] for result in answer.json()["results"]]
        assert hashes_of(quick.events(len(made))) == made
        assert hashes_of(listener.events(len(made))) == made
        # It has caught up, and hears of what happens like everyone.
        last = shared.made(shared.pay(payer, payee, "1"))["id"]
        assert hashes_of(listener.events(1)) == hashes_of(quick.events(1)) == [last]
