"""One frame a turn of the loop; each request gets its own results; patience costs only those who asked for it."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import numpy as np
import pytest

from qenex.api.combiner import FRAMES_MAX, LINGER_US, ROWS_WAITING_MAX, Combiner
from qenex.client.protocol import Operation, Position
from qenex.client.session import Reply
from qenex.errors import Busy, EngineUnreachable, ReservedId
from qenex.kernel import BATCH_MAX, EVENT_RESULT, TRANSFER

ROW = TRANSFER.itemsize


class Engine:
    """Answers frames when told to; the status of a row is the low half of its id."""

    def __init__(self) -> None:
        self.frames: list[tuple[list[int], int, bytes]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.refuses: int | None = None
        self.unreachable = False

    async def send(self, rows: np.ndarray, *, linger_us: int, context: bytes, trace: bytes) -> Reply:
        ids = rows["id"]["lo"].tolist()
        self.frames.append((ids, linger_us, context))
        await self.open.wait()
        if self.unreachable:
            raise EngineUnreachable
        if self.refuses in ids:
            raise ReservedId
        results = np.zeros(len(ids), EVENT_RESULT)
        results["status"] = ids
        body = bytearray(results.tobytes())
        return Reply(Operation.CREATE_TRANSFERS, body, Position(1, 1, 1), 1, 1, len(ids), 0, replayed=False)


def rows(*ids: int) -> bytes:
    made = np.zeros(len(ids), TRANSFER)
    made["id"]["lo"] = ids
    return made.tobytes()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def combiner(engine: Engine) -> Combiner:
    return Combiner(engine.send)


OWNER = b"owner "


def submit(combiner: Combiner, *ids: int, optimize: bool = False, context: bytes = OWNER) -> asyncio.Future:
    digest, decision = sha256(bytes(ids)).digest(), bytes(ids[:1] * 32)
    return combiner.submit(rows(*ids), context=context, digest=digest, decision=decision, optimize=optimize)


def statuses(outcome: object) -> list[int]:
    return [status for _, status, _ in outcome.results]  # type: ignore[attr-defined]


async def test_what_waits_in_one_turn_goes_in_one_frame(engine: Engine, combiner: Combiner) -> None:
    outcomes = await asyncio.gather(submit(combiner, 1), submit(combiner, 2, 3), submit(combiner, 4))
    assert [statuses(outcome) for outcome in outcomes] == [[1], [2, 3], [4]]
    assert [ids for ids, _, _ in engine.frames] == [[1, 2, 3, 4]]
    assert combiner.rows_waiting == 0


async def test_the_context_says_who_asked_how_often_and_what_allowed_it(engine: Engine, combiner: Combiner) -> None:
    await asyncio.gather(submit(combiner, 1), submit(combiner, 2, 3))
    digests = sha256(bytes([1])).digest() + sha256(bytes([2, 3])).digest()
    decisions = bytes([1] * 32 + [2] * 32)
    ends = sha256(digests).digest() + sha256(decisions).digest()
    assert engine.frames[0][2] == OWNER + (2).to_bytes(2, "little") + ends


async def test_two_principals_share_no_frame_and_take_turns(engine: Engine, combiner: Combiner) -> None:
    engine.open.clear()
    waiting = [submit(combiner, number, context=b"much ") for number in range(1, 9)]
    waiting += [submit(combiner, 20, context=b"little "), submit(combiner, 9, context=b"much ")]
    await asyncio.sleep(0)
    engine.open.set()
    await asyncio.gather(*waiting)
    assert [(ids, context[: context.index(b" ")]) for ids, _, context in engine.frames] == [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], b"much"),
        ([20], b"little"),
    ]


async def test_who_has_much_waiting_does_not_hold_up_others(engine: Engine, combiner: Combiner) -> None:
    full = rows(*[1] * BATCH_MAX)
    waiting = [combiner.submit(full, context=b"much ", digest=b"", decision=b"", optimize=False) for _ in range(6)]
    waiting.append(submit(combiner, 2, context=b"little "))
    await asyncio.gather(*waiting)
    assert [context[: context.index(b" ")] for _, _, context in engine.frames][:3] == [b"much", b"little", b"much"]


async def test_a_frame_lingers_only_when_all_asked_for_it(engine: Engine, combiner: Combiner) -> None:
    await asyncio.gather(submit(combiner, 1, optimize=True), submit(combiner, 2, optimize=True))
    await asyncio.gather(submit(combiner, 3, optimize=True), submit(combiner, 4))
    assert [(ids, linger) for ids, linger, _ in engine.frames] == [([1, 2], LINGER_US), ([3, 4], 0)]


async def test_the_patient_never_delay_the_impatient(engine: Engine, combiner: Combiner) -> None:
    engine.open.clear()
    waiting = []
    for number in range(1, FRAMES_MAX + 3):
        waiting.append(submit(combiner, number, optimize=True))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert len(engine.frames) == FRAMES_MAX
    waiting.append(submit(combiner, 100))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert engine.frames[-1][:2] == ([FRAMES_MAX + 1, FRAMES_MAX + 2, 100], 0)
    engine.open.set()
    await asyncio.gather(*waiting)


async def test_while_frames_are_under_way_the_next_one_grows(engine: Engine, combiner: Combiner) -> None:
    engine.open.clear()
    waiting = []
    for number in range(1, FRAMES_MAX + 11):
        waiting.append(submit(combiner, number))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert len(engine.frames) == FRAMES_MAX
    assert combiner.rows_waiting == 10
    engine.open.set()
    outcomes = await asyncio.gather(*waiting)
    assert [statuses(outcome) for outcome in outcomes] == [[n] for n in range(1, FRAMES_MAX + 11)]
    assert len(engine.frames[FRAMES_MAX][0]) == 10


async def test_a_request_is_never_cut_in_two(engine: Engine, combiner: Combiner) -> None:
    first, second = list(range(1, 5_001)), list(range(5_001, 10_001))
    outcomes = await asyncio.gather(
        combiner.submit(rows(*first), context=OWNER, digest=b"", decision=b"", optimize=False),
        combiner.submit(rows(*second), context=OWNER, digest=b"", decision=b"", optimize=False),
        combiner.submit(rows(7), context=OWNER, digest=b"", decision=b"", optimize=False),
    )
    assert [statuses(outcome) for outcome in outcomes] == [first, second, [7]]
    assert [len(ids) for ids, _, _ in engine.frames] == [5_000, 5_001]


async def test_the_queue_is_bounded(engine: Engine, combiner: Combiner) -> None:
    full = rows(*range(1, BATCH_MAX + 1))
    for _ in range(ROWS_WAITING_MAX // BATCH_MAX):
        combiner.submit(full, context=OWNER, digest=b"", decision=b"", optimize=False)
    with pytest.raises(Busy) as caught:
        submit(combiner, 1)
    assert caught.value.retry_after_us > 0
    await asyncio.sleep(0)
    await submit(combiner, 1)


async def test_an_id_that_is_not_free_fails_only_its_own_request(engine: Engine, combiner: Combiner) -> None:
    engine.refuses = 2
    results = await asyncio.gather(
        submit(combiner, 1), submit(combiner, 2), submit(combiner, 3), return_exceptions=True
    )
    assert statuses(results[0]) == [1]
    assert isinstance(results[1], ReservedId)
    assert statuses(results[2]) == [3]


async def test_when_the_engine_is_away_everybody_is_told(engine: Engine, combiner: Combiner) -> None:
    engine.unreachable = True
    results = await asyncio.gather(submit(combiner, 1), submit(combiner, 2), return_exceptions=True)
    assert all(isinstance(result, EngineUnreachable) for result in results)
    engine.unreachable = False
    assert statuses(await submit(combiner, 3)) == [3]


async def test_who_left_does_not_disturb_the_others(engine: Engine, combiner: Combiner) -> None:
    engine.open.clear()
    gone, stays = submit(combiner, 1), submit(combiner, 2)
    await asyncio.sleep(0)
    gone.cancel()
    engine.open.set()
    assert statuses(await stays) == [2]
