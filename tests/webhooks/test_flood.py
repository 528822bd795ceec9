"""Floods of events that nobody asked for: real events are taken meanwhile and afterwards, and the disk is bounded."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from gotsurge_async.ledger import OrderState
from gotsurge_async.models.answers import Task
from gotsurge_async.testing import ManualClock
from gotsurge_async.webhooks import reads as reads_module
from gotsurge_async.webhooks import room
from gotsurge_async.webhooks import settle as settle_module
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.event import EventState, read_event
from gotsurge_async.webhooks.inbox import Inbox
from gotsurge_async.webhooks.reads import READ_RATE
from gotsurge_async.webhooks.receive import Receiver
from gotsurge_async.webhooks.room import InboxFull, UnknownFull
from tests.support.orders import order
from tests.support.threads import eventually
from tests.webhooks.follow_kit import Followed, followed, follower
from tests.webhooks.kit import SERVERS, TASK, TOKEN, event, put_all

MOST = 4 * 1024**2
"""Bytes that the inboxes here may hold; `MOST_BYTES` is far more."""
NOBODYS = "99999999-0000-4000-8000-000000000000"
LARGE = "x" * 65_536


def forged(number: int, text: str = "x" * 3000) -> bytes:
    """An event of a task that does not exist, which is kept whole."""
    return event(f"99999999-0000-4000-8000-{number:012}", text=text)


def real(number: int, text: str = "") -> bytes:
    """One of several events of a task that the book knows."""
    return event(at=f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z", text=text)


HUGE = "x" * (256 * 1024 - 400)


@attrs.frozen
class Receiving:
    """A receiver that serves, and its inbox."""

    inbox: Inbox
    receiver: Receiver
    book: Book
    session: aiohttp.ClientSession
    url: str

    async def post(self, body: bytes) -> int:
        """The status of the answer."""
        async with self.session.post(self.url + TOKEN, data=body) as answer:
            return answer.status


@asynccontextmanager
async def receiving(folder: Path) -> AsyncIterator[Receiving]:
    """A receiver on an inbox that may hold little; the order book beside it knows one task."""
    async with (
        Inbox.open(folder / "inbox.db", most_bytes=MOST) as inbox,
        Book.open(folder / "inbox.db") as book,
        aiohttp.ClientSession() as session,
    ):
        await book.observe("default", Task(id=TASK, current_status="broadcasting"), source="create")
        receiver = Receiver(inbox, tokens=[TOKEN])
        async with SERVERS["aiohttp"](receiver) as url:
            yield Receiving(inbox, receiver, book, session, url)


def on_disk(folder: Path) -> int:
    """The bytes of the database's file; the log beside it has a size of its own, whatever the inbox may hold."""
    return (folder / "inbox.db").stat().st_size


async def test_a_flood_of_unknown_tasks_keeps_no_real_event_out(tmp_path: Path) -> None:
    """Real events are answered 200 after a flood that no read works off, also after a start; the disk is bounded."""
    async with receiving(tmp_path) as here:
        answers = await flood(here)
        assert answers[-1] == 503
        assert not await here.receiver.is_ready(known=False)
        assert await here.post(real(0)) == 200
        assert await here.receiver.is_ready()
    async with receiving(tmp_path) as here:
        assert await here.receiver.is_ready()
        assert [await here.post(real(number, LARGE)) for number in range(1, 21)] == [200] * 20
        assert await here.post(forged(10_000)) == 503
        waiting = [each.task_id for each in await here.inbox.waiting(limit=10_000)]
        assert waiting.count(TASK) == 21
        assert len(waiting) == 21 + answers.count(200)  # no event that was answered 200 has gone
    assert on_disk(tmp_path) < 2 * MOST


async def flood(here: Receiving) -> list[int]:
    """Events of unknown tasks until one is refused; their answers."""
    answers = [200]
    while answers[-1] == 200:
        numbers = range(len(answers), len(answers) + 50)
        answers += await asyncio.gather(*(here.post(forged(number)) for number in numbers))
    return answers[1:]


async def test_little_is_kept_of_what_is_unknown(tmp_path: Path) -> None:
    """Of events of 256 KB with unknown ids, twelve times what may be held, only the names are kept; all are taken."""
    count = 12 * MOST // len(HUGE)
    async with receiving(tmp_path) as here:
        for start in range(0, count, 16):
            ids = (f"99999999-0000-4000-8000-{number:012}" for number in range(start, min(start + 16, count)))
            await put_all(here.inbox, *(event(each, text=HUGE, tracking_id="F") for each in ids))
        assert await here.receiver.is_ready()
        assert await here.post(real(0, HUGE)) == 200
        shown = await here.inbox.show(1)
        assert shown is not None
        assert shown.why is not None
        assert "only the names of this event" in shown.why
        kept = read_event(shown.body or b"")
        assert (kept.task_id, kept.tracking_id, kept.status) == (shown.task_id, "F", "accepted")
        whole = await here.inbox.show(count + 1)
        assert whole is not None
        assert whole.body == real(0, HUGE)
    assert on_disk(tmp_path) < MOST


async def test_an_event_that_names_an_order_of_the_book_is_real(tmp_path: Path) -> None:
    """In a flood, the event of a second task of an order that the book knows is taken: it may be a double."""
    async with receiving(tmp_path) as here:
        await here.book.observe(
            "default",
            Task(id="other", current_status="draft", tracking_id="T-1", invoice_number="I-1"),
            source="create",
        )
        assert (await flood(here))[-1] == 503
        assert await here.post(event("new-1", tracking_id="T-1")) == 200
        assert await here.post(event("new-2", invoice_number="I-1", text=LARGE)) == 200
        assert await here.post(event("new-3", tracking_id="T-2")) == 503


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(LARGE, id="large"),
        pytest.param("x" * 3850, id="middle"),  # a little more than half of a page
        pytest.param("", id="small", marks=pytest.mark.slow),
    ],
)
async def test_events_that_are_done_make_room(tmp_path: Path, text: str) -> None:
    """Four times as much as the inbox may hold comes and is read: every event is taken, and the disk is bounded."""
    async with receiving(tmp_path) as here:
        await here.post(real(0, text))
        size = room.ROW_BYTES + len(forged(0, text))
        number = 0
        while number * size < 4 * MOST:
            some = MOST // size // 8
            await asyncio.gather(*(here.inbox.put("default", forged(number + each, text)) for each in range(some)))
            number += some
            strangers = [each.id for each in await here.inbox.waiting(limit=number) if each.task_id != TASK]
            await here.inbox.done(strangers)
        assert await here.post(real(1, text)) == 200
        assert [each.task_id for each in await here.inbox.waiting()] == [TASK] * 2
        done = await here.inbox.newest(EventState.DONE, limit=number)
        assert done[0].task_id == f"99999999-0000-4000-8000-{number - 1:012}"  # the oldest went first
        assert on_disk(tmp_path) < 2.1 * MOST


async def test_an_inbox_full_of_real_events_is_not_ready(tmp_path: Path) -> None:
    """Real events that nobody reads fill it: it says that it is not ready, and the next is 503, until some are read."""
    async with receiving(tmp_path) as here:
        number = 0
        while await here.receiver.is_ready():
            assert await here.post(real(number, LARGE * 3)) == 200
            number += 1
        while await here.post(real(number, LARGE * 3)) == 200:
            number += 1
    async with receiving(tmp_path) as here:
        assert not await here.receiver.is_ready()
        assert await here.post(real(number, LARGE * 3)) == 503
        await here.inbox.done([each.id for each in await here.inbox.waiting(limit=5)])
        assert await here.receiver.is_ready()
        assert await here.post(real(number, LARGE * 3)) == 200


async def test_room_that_another_process_made_is_seen(tmp_path: Path) -> None:
    """The process that follows is another one than the one that receives: what it reads makes room here."""
    clock = ManualClock()
    async with (
        Inbox.open(tmp_path / "inbox.db", most_bytes=MOST, clock=clock) as receives,
        Inbox.open(tmp_path / "inbox.db", most_bytes=MOST) as follows,
        Book.open(tmp_path / "inbox.db"),
    ):
        puts = (receives.put("default", forged(number)) for number in range(500))
        answers = await asyncio.gather(*puts, return_exceptions=True)
        assert any(isinstance(answer, UnknownFull) for answer in answers)
        await follows.not_ours([each.id for each in await follows.waiting()], "GotSurge does not know the task")
        await clock.advance(60)
        await receives.put("default", forged(1000))


async def test_full_of_what_several_processes_put_in(tmp_path: Path) -> None:
    """What other processes put in is seen before an inbox holds a multiple of what it may."""
    async with Book.open(tmp_path / "inbox.db") as book:
        await book.observe("default", Task(id=TASK, current_status="broadcasting"), source="create")
        taken = 0
        for number in range(12):  # each with a count of its own, as in processes of their own
            clock = ManualClock()
            async with Inbox.open(tmp_path / "inbox.db", most_bytes=MOST, clock=clock, keep=None) as inbox:
                for each in range(6):
                    await clock.advance(60)
                    try:
                        await inbox.put("default", real(number * 6 + each, LARGE * 3))
                        taken += 1
                    except InboxFull:
                        break
                assert sum(inbox._room.sizes.values()) < MOST
        assert taken == MOST // (3 * len(LARGE) + room.ROW_BYTES + len(real(0)))


async def test_the_body_of_an_unknown_task_is_dropped(tmp_path: Path) -> None:
    """Once a read says that a task is not ours, its event takes little room; it can be read again all the same."""
    async with Inbox.open(tmp_path / "inbox.db") as inbox:
        await inbox.put("default", forged(1))
        await inbox.put("default", forged(2))
        one, two = [each.id for each in await inbox.waiting()]
        await inbox.drop_bodies([one])
        await inbox.not_ours([two], "GotSurge does not know the task")
        for number, state in ((one, EventState.WAITING), (two, EventState.DONE)):
            shown = await inbox.show(number)
            assert shown is not None
            assert (shown.state, shown.size, shown.body) == (state, 0, b"")
        assert inbox._room.sizes.total() == 2 * room.ROW_BYTES
        assert await inbox.replay([two]) == 1
        assert [each.task_id for each in await inbox.waiting()] == [f"99999999-0000-4000-8000-{n:012}" for n in (1, 2)]
        assert all(each.is_without_body for each in await inbox.oldest(since=(await inbox.newest())[0].received_at))


async def test_a_pushed_order_is_known_before_its_first_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a flood, the first event of an order that was pushed a moment ago is taken: its task is in the ledger."""
    monkeypatch.setattr(reads_module, "PAUSES", (3600.0,))
    async with followed(tmp_path, following=False) as kit, follower(kit, ledger=kit.here.ledger, read_rate=0.01):
        kit.inbox._room.most = MOST
        puts = (kit.inbox.put("default", forged(number)) for number in range(500))
        assert any(isinstance(each, UnknownFull) for each in await asyncio.gather(*puts, return_exceptions=True))
        kit.inbox._learn_at = 0.0  # some seconds pass
        run = await kit.here.push([order("T-0")])
        (task_id,) = (await kit.here.tasks(run)).values()
        await kit.event(task_id)
        with pytest.raises(UnknownFull):
            await kit.inbox.put("default", forged(1000))


async def test_the_event_of_an_order_in_doubt_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a flood, the only event of an order in doubt is taken, also a large one: the ledger knows its tracking id."""
    monkeypatch.setattr(reads_module, "PAUSES", (3600.0,))
    async with followed(tmp_path, following=False) as kit, follower(kit, ledger=kit.here.ledger, read_rate=0.01):
        kit.inbox._room.most = MOST
        await kit.here.lose([order("T-0"), order("T-1")])
        puts = (kit.inbox.put("default", forged(number)) for number in range(500))
        assert any(isinstance(each, UnknownFull) for each in await asyncio.gather(*puts, return_exceptions=True))
        first, second = (each["id"] for each in kit.here.simulator.tasks())
        await kit.event(first, tracking_id="T-0")
        await kit.event(second, tracking_id="T-1", text=LARGE)
        with pytest.raises(UnknownFull):
            await kit.event(NOBODYS, tracking_id="T-2", text="x" * 3000)


async def test_an_order_in_doubt_is_settled_in_a_flood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside many forged ids, an order in doubt is settled within a minute: the event of its task has its tracking id.

    ``FORGED_IDS=1000000`` is the whole size, without shortened waits and at the default rate of reads.
    """
    number = int(os.environ.get("FORGED_IDS", "6000"))
    rate = READ_RATE
    if number == 6000:
        rate = 20.0
        monkeypatch.setattr(reads_module, "PAUSES", (3600.0,))
        monkeypatch.setattr(settle_module, "LET_OTHERS_FIRST", 0.1)
        monkeypatch.setattr(settle_module, "LOOK_EVERY", 0.1)
    async with followed(tmp_path, following=False) as kit:
        run_id = await kit.here.lose([order("T-0")])

        async def is_settled() -> bool:
            return (await kit.here.states(run_id))["T-0"] is OrderState.CREATED

        await put_forged(kit.inbox, range(number // 2))
        (task,) = kit.here.simulator.tasks()
        await kit.event(task["id"], tracking_id="T-0")
        await put_forged(kit.inbox, range(number // 2, number * 9 // 10))
        async with follower(kit, ledger=kit.here.ledger, read_rate=rate):
            more = asyncio.create_task(put_forged(kit.inbox, range(number * 9 // 10, number), pause=0.5))
            began = time.monotonic()
            await eventually(is_settled, seconds=60)
            print(f"settled after {time.monotonic() - began:.1f} s, beside {await kit.inbox.counts()}")
            more.cancel()
        assert kit.reads() < 1000


async def put_forged(inbox: Inbox, numbers: range, pause: float = 0.0) -> None:
    """Put small forged events in, a thousand at a time; those for which there is no room are refused."""
    for start in range(numbers.start, numbers.stop, 1000):
        some = range(start, min(start + 1000, numbers.stop))
        puts = (inbox.put("default", forged(each, "")) for each in some)
        for answer in await asyncio.gather(*puts, return_exceptions=True):
            assert isinstance(answer, EventState | UnknownFull)
        await asyncio.sleep(pause)


async def post(session: aiohttp.ClientSession, url: str, body: bytes) -> int:
    """The status of the answer."""
    async with session.post(url + TOKEN, data=body) as answer:
        return answer.status


async def reads_of_the_flood(kit: Followed, number: int) -> Any:
    """Whether each forged event that was taken was read once."""
    return kit.reads() >= number
