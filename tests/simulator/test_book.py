from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gotsurge_async.simulator.book import TaskBook, TaskRecord

NAMES = ("", "A", "B", "C")


class BookMachine(RuleBasedStateMachine):
    """A book through any sequence of changes, beside a recount from scratch."""

    @initialize()
    def start(self) -> None:
        self.book = TaskBook()
        self.records: list[TaskRecord] = []
        self.removed: list[TaskRecord] = []
        self.ids: set[str] = set()

    @rule(name=st.sampled_from(NAMES), draft=st.booleans(), listed=st.booleans())
    def add(self, name: str, draft: bool, listed: bool) -> None:
        status = "pending_broadcast" if draft else "broadcasting"
        record = TaskRecord(
            id=self.book.new_id(),
            owner="me",
            source=b"{}",
            tracking_id=name,
            history=((status, 0.0),),
            group="",
            preference="marine",
            pickup_end=0.0,
            distance=0,
            updated_at=0.0,
            draft=draft,
        )
        assert record.id not in self.ids
        self.ids.add(record.id)
        self.book.add(record, listed=listed or not draft)
        self.records.append(record)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.records:
            record = data.draw(st.sampled_from(self.records))
            self.book.remove(record)
            self.records.remove(record)
            self.removed.append(record)
            assert self.book.find(record.id) is None

    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def retrack(self, data: st.DataObject, name: str) -> None:
        if self.records:
            self.book.retrack(data.draw(st.sampled_from(self.records)), name)

    @rule(data=st.data(), status=st.sampled_from(["broadcasting", "cancelled", "accepted"]))
    def move(self, data: st.DataObject, status: str) -> None:
        if self.records:
            self.book.move(data.draw(st.sampled_from(self.records)), status, 1.0)

    @invariant()
    def counts_are_those_of_a_recount(self) -> None:
        """What the audit keeps is what counting all over again gives."""
        if not hasattr(self, "book"):
            return
        counted = [*self.records, *(record for record in self.removed if not record.draft)]
        assert self.book.audit() == recount(counted)
        for name in NAMES[1:]:
            assert self.book.in_use(name, drafts_too=True) == any(r.tracking_id == name for r in counted)

    @invariant()
    def every_task_is_listed_once(self) -> None:
        """Task List shows every broadcast task once, and no draft that was to be hidden."""
        if hasattr(self, "book"):
            listed = self.book.listed("me")
            assert {record.id for record in listed} <= {record.id for record in self.records}
            assert len(listed) == len({record.id for record in listed})
            assert {r.id for r in self.records if not r.draft} <= {r.id for r in listed}


def recount(records: list[TaskRecord]) -> dict[str, Any]:
    shown = Counter(r.tracking_id for r in records if not r.draft)
    drafts = Counter(r.tracking_id for r in records if r.draft)
    tracked = {name: count for name, count in shown.items() if name}
    return {
        "tasks": shown.total(),
        "by_tracking_id": tracked,
        "doubled": {name: count for name, count in tracked.items() if count > 1},
        "drafts": drafts.total(),
        "drafts_by_tracking_id": {name: count for name, count in drafts.items() if name},
    }


TestBook = BookMachine.TestCase
TestBook.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def test_two_books_give_out_different_ids() -> None:
    """The ids of one simulator are not those of another."""
    assert TaskBook().new_id() != TaskBook().new_id()


def test_a_group_is_no_task() -> None:
    """The id of a group of tasks is never the id of a task."""
    book = TaskBook()
    assert book.new_group() != book.new_id()
