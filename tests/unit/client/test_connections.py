"""Both connections against a peer that fails at chosen moments: every row takes effect once and is answered once."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from qenex.client.async_connection import AsyncConnection
from qenex.client.connection import Connection
from qenex.client.credentials import Address
from qenex.client.protocol import NO_SESSION, Operation
from qenex.client.session import Request, Session
from qenex.errors import (
    BatchTooLarge,
    Busy,
    ClientClosed,
    EngineError,
    EngineUnreachable,
    StorageFull,
    Unauthenticated,
    UnexpectedReply,
    UnknownOutcome,
)
from qenex.kernel import CreateTransferStatus
from tests.unit.client.peer import BOOK, REFUSED_CODE, SECRET, Peer, transfers

if TYPE_CHECKING:
    import socket

    from numpy.typing import NDArray

    from qenex.client.session import Reply

Run = Callable[[Peer, list["NDArray[np.void]"], Session], list[Any]]
CREATED, EXISTS = CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS
BATCHES = [transfers(1 + 100 * number, 3) for number in range(8)]


def new_session(*, patience_s: float = 20, read_only: bool = False) -> Session:
    return Session(SECRET, "test", read_only=read_only, patience_s=patience_s)


def run_blocking(peer: Peer, batches: list[NDArray[np.void]], session: Session) -> list[Any]:
    answers: dict[int, Reply | EngineError] = {}
    requests = [Request(Operation.CREATE_TRANSFERS, batch) for batch in batches]
    for at, request in enumerate(requests):
        request.waiter = at
    with closing(Connection(Address(*peer.address), session)) as connection:
        connection.exchange(requests, lambda request, answer: answers.__setitem__(request.waiter, answer))
    return [answers[at] for at in range(len(batches))]


def run_async(peer: Peer, batches: list[NDArray[np.void]], session: Session) -> list[Any]:
    async def all_at_once() -> list[Any]:
        connection = AsyncConnection(Address(*peer.address), session)
        await connection.open()
        calls = [connection.call(Operation.CREATE_TRANSFERS, batch) for batch in batches]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        await connection.close()
        assert all(not isinstance(answer, BaseException) or isinstance(answer, EngineError) for answer in answers)
        return answers

    return asyncio.run(all_at_once())


both = pytest.mark.parametrize("run", [run_blocking, run_async])
ONE_FAULT = ["drop", "apply_and_drop", "half", "busy", "unknown_outcome", "goodbye", "garble", "apply_and_forget"]


@both
@pytest.mark.parametrize("fault", [*ONE_FAULT, "forgotten"])
@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_fault_at_any_request_neither_loses_nor_doubles_one(run: Run, fault: str, at: int) -> None:
    with Peer(["answer"] * at + [fault]) as peer:
        answers = run(peer, BATCHES, new_session())
    assert len(peer.applied) == sum(map(len, BATCHES))
    for batch, answer in zip(BATCHES, answers, strict=True):
        assert [peer.applied[row["id"].tobytes()][0] for row in batch] == answer.rows["timestamp"].tolist()
        assert set(answer.rows["status"].tolist()) <= {CREATED, EXISTS}


@both
@pytest.mark.parametrize("seed", range(20))
def test_many_faults_in_a_row_neither_lose_nor_double_one(run: Run, seed: int) -> None:
    faults = np.random.default_rng(seed).choice([*ONE_FAULT, *["answer"] * 8], 20)
    with Peer(faults.tolist(), hello_faults=["", "drop", "busy"], window=4) as peer:
        answers = run(peer, BATCHES, new_session())
    assert len(peer.applied) == sum(map(len, BATCHES))
    for batch, answer in zip(BATCHES, answers, strict=True):
        assert [peer.applied[row["id"].tobytes()][0] for row in batch] == answer.rows["timestamp"].tolist()


@both
def test_a_lost_connection_resumes_its_session_with_the_same_numbers(run: Run) -> None:
    with Peer(["apply_and_drop"]) as peer:
        (answer,) = run(peer, BATCHES[:1], new_session())
    assert set(answer.rows["status"].tolist()) == {CREATED}, "the engine knew the number and gave the first answer"
    assert [(hello.flags, hello.session) for hello in peer.hellos] == [
        (0, peer.hellos[0].session),
        (1, peer.hellos[0].session),
    ]
    assert [request.request for request in peer.requests] == [1, 1]
    assert peer.requests[0].book == BOOK
    assert not answer.replayed


@both
def test_a_forgotten_session_gives_way_to_a_new_one_and_ids_tell_what_happened(run: Run) -> None:
    batch = np.concatenate([transfers(1, 2), transfers(3, 1, code=REFUSED_CODE)])
    with Peer(["apply_and_forget"]) as peer:
        (answer,) = run(peer, [batch], new_session())
    assert answer.replayed
    assert answer.rows["status"].tolist() == [EXISTS, EXISTS, CreateTransferStatus.EXCEEDS_CREDITS]
    assert answer.rows["timestamp"].tolist() == [1_001, 1_002, 1_003], "the first time's, not the retry's"
    assert len({hello.session for hello in peer.hellos}) == 2


@both
def test_an_error_of_one_request_leaves_the_others_alone(run: Run) -> None:
    with Peer(["answer", "storage_full"]) as peer:
        answers = run(peer, BATCHES[:3], new_session())
    assert [type(answer).__name__ for answer in answers] == ["Reply", "StorageFull", "Reply"]
    assert "storage_full by order" in str(answers[1])


@both
def test_no_answer_in_time_is_an_unknown_outcome(run: Run) -> None:
    with Peer(["silence"] * 100) as peer:
        try:
            (answer,) = run(peer, BATCHES[:1], new_session(patience_s=0.2))
        except EngineError as error:
            answer = error
    assert type(answer) is UnknownOutcome


@both
def test_busy_for_too_long_is_said_as_busy_because_nothing_happened(run: Run) -> None:
    with Peer(["busy", "busy", "busy_for_long"]) as peer:
        try:
            (answer,) = run(peer, BATCHES[:1], new_session(patience_s=0.2))
        except EngineError as error:
            answer = error
    assert type(answer) is Busy
    assert not peer.applied


@both
def test_the_window_is_never_exceeded(run: Run) -> None:
    with Peer(window=2) as peer:
        answers = run(peer, [transfers(number + 1, 1) for number in range(200)], new_session())
    assert len(answers) == len(peer.applied) == 200
    assert [request.request for request in peer.requests] == list(range(1, 201))


@both
def test_frames_far_larger_than_the_sockets_buffers_pass_both_ways(run: Run) -> None:
    batches = [transfers(1 + 8_189 * number, 8_189) for number in range(4)]
    with Peer() as peer:
        answers = run(peer, batches, new_session())
    assert sum(len(answer.rows) for answer in answers) == len(peer.applied) == 4 * 8_189


@both
def test_a_wrong_credential_is_refused_at_once(run: Run) -> None:
    with Peer(hello_faults=["unauthenticated"]) as peer, pytest.raises(Unauthenticated, match="who are you"):
        run(peer, BATCHES[:1], new_session())


@both
@pytest.mark.parametrize("impostor", ["unproven", "bare_welcome"])
def test_who_listens_and_does_not_know_the_credential_learns_nothing_and_is_not_believed(
    run: Run, impostor: str
) -> None:
    with Peer(hello_faults=[impostor]) as peer, pytest.raises(UnexpectedReply):
        run(peer, BATCHES[:1], new_session())
    (hello,) = peer.heard
    assert SECRET.encode() not in hello
    assert not peer.hellos
    assert not peer.requests


@both
@pytest.mark.parametrize("impostor", ["unproven", "bare_welcome", "expired"])
def test_an_impostor_between_two_engines_gets_no_request_and_no_session_ends_on_its_word(
    run: Run, impostor: str
) -> None:
    with Peer(["apply_and_drop"], hello_faults=["", impostor]) as peer:
        (answer,) = run(peer, BATCHES[:1], new_session())
    assert set(answer.rows["status"].tolist()) == {CREATED}
    assert [request.request for request in peer.requests] == [1, 1]
    assert len({hello.session for hello in peer.hellos}) == 1
    assert not answer.replayed


@both
def test_what_is_no_engine_is_said_to_be_none(run: Run) -> None:
    class Stranger(Peer):
        def _serve(self, connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 20)

    with Stranger() as peer, pytest.raises(UnexpectedReply, match="binary port"):
        run(peer, BATCHES[:1], new_session())


@both
def test_nobody_there_is_said_at_once_with_what_would_help(run: Run) -> None:
    with Peer() as peer:
        pass
    with pytest.raises(EngineUnreachable, match="make start"):
        run(peer, BATCHES[:1], new_session())


@both
def test_a_reader_has_no_session(run: Run) -> None:
    with Peer(["drop"]) as peer:
        run(peer, BATCHES[:1], new_session(read_only=True))
    assert {hello.session for hello in peer.hellos} == {NO_SESSION}
    assert {hello.flags for hello in peer.hellos} == {0}


def test_context_and_linger_reach_the_engine() -> None:
    with Peer() as peer:
        connection = Connection(Address(*peer.address), new_session())
        reply = connection.call(Operation.CREATE_TRANSFERS, BATCHES[0], linger_us=700, context=b"who and why")
        connection.close()
    assert peer.contexts == [b"who and why"]
    assert reply.waited_us == 700
    assert len(reply.rows) == 3


def test_a_frame_over_the_limit_is_refused_before_it_is_sent() -> None:
    with Peer() as peer:
        connection = Connection(Address(*peer.address), new_session())
        with pytest.raises(BatchTooLarge):
            connection.call(Operation.CREATE_TRANSFERS, transfers(1, 8_300))
        connection.call(Operation.CREATE_TRANSFERS, BATCHES[0])
        connection.close()
    assert len(peer.applied) == 3


def test_a_closed_connection_and_a_fork_are_refused() -> None:
    with Peer() as peer:
        connection = Connection(Address(*peer.address), new_session())
        read_end, write_end = os.pipe()
        if (child := os.fork()) == 0:
            try:
                connection.call(Operation.CREATE_TRANSFERS, BATCHES[0])
            except ClientClosed:
                os.write(write_end, b"refused")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            assert pipe.read() == b"refused"
        connection.close()
        connection.close()
        with pytest.raises(ClientClosed):
            connection.call(Operation.CREATE_TRANSFERS, BATCHES[0])


async def test_a_cancelled_call_disturbs_no_other() -> None:
    with Peer(window=1) as peer:
        connection = AsyncConnection(Address(*peer.address), new_session())
        calls = [asyncio.ensure_future(connection.call(Operation.CREATE_TRANSFERS, batch)) for batch in BATCHES]
        await asyncio.sleep(0)
        calls[0].cancel()
        calls[5].cancel()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(answer, asyncio.CancelledError) for answer in done] == [
            at in (0, 5) for at in range(len(BATCHES))
        ]
        await connection.close()


async def test_closing_fails_what_is_under_way() -> None:
    with Peer(["silence"]) as peer:
        connection = AsyncConnection(Address(*peer.address), new_session())
        await connection.open()
        call = asyncio.ensure_future(connection.call(Operation.CREATE_TRANSFERS, BATCHES[0]))
        await asyncio.sleep(0.01)
        await connection.close()
        with pytest.raises(UnknownOutcome):
            await call
        with pytest.raises(ClientClosed):
            await connection.call(Operation.CREATE_TRANSFERS, BATCHES[0])


def test_an_interrupted_exchange_begins_afresh() -> None:
    def interrupted() -> itertools.chain[Request]:
        def stop() -> list[Request]:
            raise KeyboardInterrupt

        requests = [Request(Operation.CREATE_TRANSFERS, batch) for batch in BATCHES]
        return itertools.chain(requests, (request for _ in (1,) for request in stop()))

    with Peer() as peer:
        connection = Connection(Address(*peer.address), new_session())
        with pytest.raises(KeyboardInterrupt):
            connection.exchange(interrupted(), lambda *_: None)
        answer = connection.call(Operation.CREATE_TRANSFERS, transfers(9_000, 2))
        connection.close()
    assert answer.rows["status"].tolist() == [CREATED, CREATED]
    assert len({hello.session for hello in peer.hellos}) == 2


def test_storage_full_is_raised_by_a_single_call() -> None:
    with Peer(["storage_full"]) as peer:
        connection = Connection(Address(*peer.address), new_session())
        with pytest.raises(StorageFull):
            connection.call(Operation.CREATE_TRANSFERS, BATCHES[0])
        connection.close()
