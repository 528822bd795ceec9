"""Tests of a task's history: however its entries come, it comes out the same, each step once."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.models.answers import StatusEntry, Task
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.testing import ManualClock
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.book.history import Kept, Reading, Step, Times, in_order, read
from tests.webhooks.book.kit import ACCOUNT, WAY, after, at, entries, task, written


class Reader:
    """Reads a task again and again, and keeps what it knows as the book does."""

    def __init__(self) -> None:
        self.kept = Kept()
        self.told: list[str] = []

    def see(self, shown: Task) -> Reading:
        """Take a read in."""
        times = Times(shown.updated_at, shown.server_time)
        reading = read(self.kept, shown, times)
        known = [reading.dated.get(place, step) for place, step in enumerate(self.kept.steps)]
        self.kept = Kept(
            steps=[*known, *(new.step for new in reading.new)],
            current=reading.current,
            times=times.latest(self.kept.times),
        )
        self.told += [new.step.status for new in reading.new]
        return reading

    @property
    def history(self) -> list[tuple[str, Any]]:
        """The history, in its order."""
        return [(step.status, step.at) for step in in_order(self.kept.steps)]


ends = st.sampled_from(["complete", "cancelled", "expired", "unsuccessful_pickup", "unsuccessful_delivery"])
ways = st.tuples(st.integers(0, 6), ends).map(lambda each: [*WAY[: each[0]], each[1]])
jumps = st.lists(st.sampled_from([*WAY, "moored", "drifting"]), min_size=1, max_size=12)


@st.composite
def reads(draw: st.DrawFn, way: list[str]) -> list[Task]:
    """Reads of a task on its way: each shows what there was up to some moment, its entries doubled and in any order."""
    shown = []
    for steps in draw(st.lists(st.integers(1, len(way)), max_size=6)):
        so_far = entries(*way[:steps])
        doubled = so_far + draw(st.lists(st.sampled_from(so_far), max_size=4))
        statuses = draw(st.sampled_from(["all", "none"]))
        content = draw(st.permutations(doubled)) if statuses == "all" else draw(st.sampled_from([None, [], {}]))
        shown.append(task("T-1", content, way[steps - 1], updated_at=so_far[-1]["updated_at"]))
    whole = entries(*way)
    return [*shown, task("T-1", draw(st.permutations(whole)), way[-1], updated_at=whole[-1]["updated_at"])]


@given(data=st.data(), way=ways)
def test_entries_in_any_order_and_number_are_one_history(data: st.DataObject, way: list[str]) -> None:
    """Doubled, permuted, missing in some reads, read in any order, also old after new: each step once, and the same."""
    reader = Reader()
    for shown in data.draw(st.permutations(data.draw(reads(way)))):
        reader.see(shown)
    assert reader.history == [(status, at(10 * n)) for n, status in enumerate(way)]
    assert sorted(reader.told) == sorted(way)
    assert reader.kept.current == way[-1]


@given(way=jumps, data=st.data())
def test_jumps_and_unknown_statuses_are_kept(way: list[str], data: st.DataObject) -> None:
    """With their times, any statuses in any number make the history that they are, once, and in order."""
    reader = Reader()
    whole = entries(*way)
    for steps in [*range(1, len(way) + 1), len(way)]:
        shown = data.draw(st.permutations(whole[:steps]))
        reading = reader.see(task("T-1", shown, way[steps - 1], updated_at=whole[steps - 1]["updated_at"]))
        assert not any(new.late for new in reading.new)
    assert reader.history == [(status, at(10 * n)) for n, status in enumerate(way)]
    assert reader.told == way


@given(way=ways, data=st.data())
def test_without_times_the_way_of_a_task_says_the_order(way: list[str], data: st.DataObject) -> None:
    """Entries that do not say when stand where their status stands, and get their times when these come."""
    reader = Reader()
    bare = [{"status": status} for status in way]
    reader.see(task("T-1", data.draw(st.permutations(bare * 2)), way[-1]))
    assert reader.history == [(status, None) for status in way]
    assert reader.told == way
    reading = reader.see(task("T-1", data.draw(st.permutations(entries(*way))), way[-1]))
    assert not reading.new
    assert reader.history == [(status, at(10 * n)) for n, status in enumerate(way)]


def test_a_status_that_stands_alone_is_a_step() -> None:
    """With the time of the task's last change, until its entry comes; that is then no other one."""
    reader = Reader()
    first = reader.see(task("T-1", None, "accepted", updated_at=written(at(11))))
    assert [(new.step.status, new.step.at, new.step.entry) for new in first.new] == [("accepted", at(11), None)]
    second = reader.see(after(2))
    assert [(new.step.status, new.previous, new.late) for new in second.new] == [("broadcasting", None, True)]
    assert reader.history == [("broadcasting", at(0)), ("accepted", at(10))]


def test_a_step_back_is_a_step() -> None:
    """A driver may give an order back: the read is newer, so it is true, once."""
    reader = Reader()
    reader.see(after(2))
    back = task("T-1", entries("broadcasting", "accepted"), "broadcasting", updated_at=written(at(15)))
    (new,) = reader.see(back).new
    assert (new.step.status, new.previous, new.step.at) == ("broadcasting", "accepted", at(15))
    assert not reader.see(back).new
    listed = task(
        "T-1", entries("broadcasting", "accepted", "broadcasting"), "broadcasting", updated_at=written(at(20))
    )
    assert not reader.see(listed).new
    assert reader.kept.current == "broadcasting"


def test_of_two_reads_without_any_time_the_further_one_is_true() -> None:
    """Nothing tells which is newer, and a task goes forward."""
    reader = Reader()
    reader.see(task("T-1", None, "pickup_arriving"))
    stale = reader.see(task("T-1", None, "accepted"))
    assert stale.stale
    assert not stale.new
    assert reader.kept.current == "pickup_arriving"


def test_equal_times_are_ordered_by_the_way() -> None:
    """A service that writes whole seconds may give several steps one time; and one step two, with and without parts."""
    moment = written(at(0))
    shown = [{"status": status, "updated_at": moment} for status in reversed(WAY)]
    reader = Reader()
    reader.see(task("T-1", shown, "complete"))
    assert reader.told == list(WAY)
    finer = [{"status": status, "updated_at": written(at(0) + timedelta(milliseconds=7))} for status in WAY]
    assert not reader.see(task("T-1", finer, "complete")).new


def test_times_that_disagree_with_the_status_make_no_second_end() -> None:
    """The end stands in the history already: clocks that differ only change its place."""
    shown = entries("broadcasting", "complete", "delivery_arriving")
    reading = read(Kept(), task("T-1", shown, "complete", updated_at=written(at(30))), Times(at(30)))
    assert sorted(new.step.status for new in reading.new) == ["broadcasting", "complete", "delivery_arriving"]
    assert reading.current == "complete"


def test_steps_compare_by_status_and_time() -> None:
    """What else an entry holds does not make it another step."""
    entry = StatusEntry(status=TaskStatus.ACCEPTED, note="by Ali")
    assert Step(TaskStatus.ACCEPTED, at(1), entry) == Step(TaskStatus.ACCEPTED, at(1))


@pytest.mark.slow
def test_a_long_history_is_read_in_good_time() -> None:
    """Twenty times the entries take about twenty times as long, and not four hundred: events come from outside."""
    whole = entries(*("moored", "accepted") * 5_000)
    shown = task("T-1", [*whole, *({"status": f"s{n}"} for n in range(5_000))], "moored")
    started = time.process_time()
    reader = Reader()
    reader.see(shown)
    assert len(reader.told) == 15_000
    assert not reader.see(shown).new
    assert time.process_time() - started < 5


def entry(status: str, minute: float) -> dict[str, str]:
    """An entry of a history at a minute."""
    return {"status": status, "updated_at": written(at(minute))}


@given(
    reversed_=st.booleans(), steps=st.lists(st.sampled_from(WAY[:3]), min_size=2, max_size=8), start=st.integers(1, 8)
)
def test_a_log_in_order_is_told_as_it_is(reversed_: bool, steps: list[str], start: int) -> None:
    """Each entry once, where several have one time too, read as it grows: no change is from a status to itself."""
    way = [status for place, status in enumerate(steps) if not place or status != steps[place - 1]]
    whole = [entry(status, min(place, 1)) for place, status in enumerate(way)]
    reader, told = Reader(), []
    for length in range(min(start, len(whole)), len(whole) + 1):
        shown = whole[:length][::-1] if reversed_ and length > 1 else whole[:length]
        reading = reader.see(task("T-1", shown, way[length - 1], updated_at=written(at(length))))
        told += [(new.previous, new.step.status) for new in reading.new]
        assert not reader.see(task("T-1", shown, way[length - 1], updated_at=written(at(length)))).new
    assert reader.told == way
    assert told == list(zip([None, *way], way, strict=False))
    assert [status for status, _ in reader.history] == way


def test_a_status_alone_goes_back_and_forth() -> None:
    """Without any log each newer read of another status is a step."""
    reader = Reader()
    way = ["broadcasting", "accepted"] * 3
    for minute, status in enumerate(way):
        assert len(reader.see(task("T-1", None, status, updated_at=written(at(minute)))).new) == 1
    assert reader.told == way
    assert not reader.see(task("T-1", [entry(each, n) for n, each in enumerate(way)], "accepted")).new


def test_a_corrected_time_is_no_step() -> None:
    """The entry that a log has in place of another one of the same status is that one."""
    reader = Reader()
    reader.see(after(2))
    shown = [entry("broadcasting", 0), entry("accepted", 10.5)]
    reading = reader.see(task("T-1", shown, "accepted", updated_at=written(at(11))))
    assert (reading.new, list(reading.dated)) == ((), [1])
    assert reader.history == [("broadcasting", at(0)), ("accepted", at(10.5))]
    part = task("T-1", [entry("accepted", 30)], "accepted", updated_at=written(at(30)))
    assert [new.step.at for new in reader.see(part).new] == [at(30)]  # a part of a log says nothing of the rest


BACK_AND_FORTH = ["broadcasting", "accepted", "broadcasting", "accepted", "complete"]


def without_times(length: int) -> Any:
    """A log without times."""
    return [{"status": status} for status in BACK_AND_FORTH[:length]]


def newest_without_time(length: int) -> Any:
    """A log whose newest entry has no time yet."""
    return [*entries(*BACK_AND_FORTH[: length - 1]), {"status": BACK_AND_FORTH[length - 1]}]


def in_the_first_reads(length: int) -> Any:
    """A log that is in the first two reads only."""
    return entries(*BACK_AND_FORTH[:length]) if length < 3 else None


@pytest.mark.parametrize("log", [without_times, newest_without_time, in_the_first_reads, lambda _: None])
@pytest.mark.parametrize("changed_at", [True, False], ids=["updated_at", "server_time alone"])
async def test_an_order_given_back_and_taken_again(
    book: Book, clock: ManualClock, log: Callable[[int], Any], changed_at: bool
) -> None:
    """Each step is handed on once, also those to a status that was there before; a read again shows nothing new."""
    told = []
    await clock.advance((at(60) - clock.now()).total_seconds())
    for minute in range(20):
        length = minute // 4 + 1
        times = {"updated_at": written(at(10 * (length - 1) + 1))} if changed_at else {}
        times["server_time"] = written(clock.now())
        told += await book.observe(ACCOUNT, task("T-1", log(length), BACK_AND_FORTH[length - 1], **times))
        await clock.advance(60)
    assert [change.status for change in told] == BACK_AND_FORTH
    assert [change.previous for change in told] == [None, *BACK_AND_FORTH[:-1]]
    assert not any(change.late for change in told)
    (order,) = [each async for each in book.orders()]
    assert [step.status for step in await book.history(order)] == BACK_AND_FORTH


@given(data=st.data(), times_back=st.integers(0, 4), end=ends, reversed_=st.booleans(), most=st.integers(1, 3))
def test_a_log_without_times_keeps_its_sequence(
    data: st.DataObject, times_back: int, end: str, reversed_: bool, most: int
) -> None:
    """As the log grows, each entry is told once, in its place, and nothing that did not happen.

    What comes back between two reads is missed.
    """
    way = [*["broadcasting", "accepted"] * (times_back + 1), "pickup_arriving", "accepted", end]
    reader, length = Reader(), 0
    while length < len(way):
        length = min(len(way), length + data.draw(st.integers(1, most)))
        log = [{"status": status} for status in way[:length]]
        for _ in range(data.draw(st.integers(1, 2))):
            reader.see(task("T-1", log[::-1] if reversed_ else log, way[length - 1], server_time=written(at(length))))
    rest = iter(way)
    assert reader.told == way if most == 1 else all(status in rest for status in reader.told)
    assert set(reader.told) == set(way)
    assert reader.told[-1] == end
    assert [status for status, _ in reader.history] == reader.told


@given(data=st.data(), way=ways)
def test_repeated_entries_in_any_order_are_no_steps_back(data: st.DataObject, way: list[str]) -> None:
    """Whichever of them have times: what GotSurge repeats or reorders has not happened again."""
    reader = Reader()
    for length in range(1, len(way) + 1):
        so_far = [data.draw(st.sampled_from([each, {"status": each["status"]}])) for each in entries(*way[:length])]
        for _ in range(2):
            shown = data.draw(st.permutations(so_far + data.draw(st.lists(st.sampled_from(so_far), max_size=3))))
            reader.see(task("T-1", shown, way[length - 1], updated_at=written(at(10 * length))))
    assert reader.told == way
