"""An audit: the ledger beside what GotSurge has, of plain and platform partners, over real HTTP."""

import json
import re
import stat
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
import pytest

from gotsurge_async.after.audit import Audit
from gotsurge_async.after.audit_notes import Finding, Kind
from gotsurge_async.bulk import Mode, OrderState, Push, Undo, write_results
from gotsurge_async.errors import SignInNeeded
from gotsurge_async.models.places import TimeWindow
from gotsurge_async.models.times import written
from gotsurge_async.simulator import Fault
from gotsurge_async.transports.base import Request, Response
from tests.after.test_odd_lists import list_tells
from tests.support.orders import order, orders, window
from tests.support.pushes import Place, place

ACCOUNTS = pytest.mark.parametrize("account", ["plain", "platform"])
BY_ACCOUNT = {"plain": Mode.DIRECT, "platform": Mode.TWO_PHASE}
DETAIL = {Mode.DIRECT: "tasks.get", Mode.TWO_PHASE: "platform.tasks.get"}


@attrs.define
class Auditor:
    """Audits a place, and keeps what it found."""

    here: Place
    folder: Path
    audit: Audit = attrs.field(init=False)

    async def find(self, *, run: str | None = None, **options: Any) -> list[Finding]:
        """All findings of an audit, of one run or of all."""
        runs = [each for each in await self.here.ledger.runs() if run in (None, each.id)]
        async with Audit(self.here.ledger, self.folder / "notes.db", **options) as self.audit:
            found = [each async for each in self.audit.in_ledger(runs)]
            found += [each async for each in self.audit.in_files(self.folder, runs)]
            found += [each async for each in self.audit.at_service(self.here.gs, runs)]
        return found

    async def kinds(self, **options: Any) -> dict[str, Kind]:
        """What was found of each key."""
        return {each.key: each.kind for each in await self.find(**options)}

    async def repair(self, run_id: str, found: list[Finding]) -> list[str]:
        """Repair a run; the keys that are free."""
        run = await self.here.ledger.run(run_id)
        async with Audit(self.here.ledger, self.folder / "notes.db") as audit:
            return await audit.repair(self.here.gs, run, found, by="Mei")

    def calls(self) -> Counter[str]:
        """How often each operation was called."""
        return Counter(self.here.simulator.audit()["calls"])


def live(here: Place) -> Counter[str]:
    """How many live tasks each tracking id has at the service."""
    return Counter(each["tracking_id"] for each in here.simulator.tasks() if _is_live(each))


def _is_live(task: dict[str, Any]) -> bool:
    return not task["draft"] and task["history"][-1][0] not in ("cancelled", "expired")


@ACCOUNTS
async def test_a_ledger_that_agrees_is_all_well(tmp_path: Path, account: str) -> None:
    """Nothing is found, the notes are gone, and a platform partner's tasks were read on the list, 200 at a time."""
    async with place(tmp_path, account) as here:
        auditor = Auditor(here, tmp_path)
        run_id = await here.push(orders(30), mode=BY_ACCOUNT[account])
        await write_results(here.ledger, await here.ledger.run(run_id), tmp_path)
        before = auditor.calls()
        assert await auditor.find() == []
        assert (auditor.audit.orders, auditor.audit.incomplete) == (30, "")
        calls = auditor.calls() - before
        assert calls[DETAIL[BY_ACCOUNT[account]]] == (30 if account == "plain" else 0)
        assert auditor.audit.reads == (30 if account == "plain" else 1)
        assert not (tmp_path / "notes.db").exists()


@ACCOUNTS
async def test_the_service_was_put_back_to_an_earlier_time(tmp_path: Path, account: str) -> None:
    """All tasks since then vanished: the orders of before are left alone, and those since are live once in the end."""
    async with place(tmp_path, account, settle=0) as here:
        auditor, mode = Auditor(here, tmp_path), BY_ACCOUNT[account]
        before = await here.push(orders(5), mode=mode)
        moment = here.simulator.now()
        since = await here.push(orders(25, "S-"), mode=mode)
        here.simulator.restore(moment)
        again = await here.push([*orders(5), *orders(25, "S-")], mode=mode)
        assert set((await here.states(again)).values()) == {OrderState.ALREADY_PUSHED}
        found = await auditor.find()
        assert {(each.run, each.key) for each in found} == {(since, f"S-{number}") for number in range(25)}
        assert {each.kind for each in found} == {Kind.VANISHED}
        assert (auditor.audit.present[before], auditor.audit.present[since]) == (5, 0)
        assert auditor.audit.rescan_after in here.clock.slept
        await auditor.repair(since, found)
        await here.push([*orders(5), *orders(25, "S-")], mode=mode)
        assert live(here) == dict.fromkeys([*(f"T-{n}" for n in range(5)), *(f"S-{n}" for n in range(25))], 1)
        assert await auditor.find() == []


@pytest.mark.parametrize("switches", [{}, {"per_page_limit": 3, "meta": "absent"}])
@pytest.mark.parametrize("name", ["T-0", "t-0"])
async def test_a_key_is_not_freed_while_another_task_of_it_is_live(
    tmp_path: Path, name: str, switches: dict[str, Any]
) -> None:
    """The task was cancelled at the service, and the order was made anew past the ledger: nothing is to be freed."""
    async with place(tmp_path, settle=0, **switches) as here:
        run_id = await here.push(orders(4))
        here.simulator.move((await here.tasks(run_id))["T-0"], "cancelled")
        (other,) = (await here.gs.tasks.create([order(name)])).tasks
        found = await Auditor(here, tmp_path).find()
        assert [(each.kind, each.key, each.task_ids) for each in found] == [(Kind.CHANGED, "T-0", (other.id,))]
        assert f"live task {other.id} has the order's tracking id" in found[0].details
        assert await Auditor(here, tmp_path).repair(run_id, found) == []
        await here.push(orders(4))
        assert live(here) == {name: 1, "T-1": 1, "T-2": 1, "T-3": 1}


async def test_a_task_that_is_still_hidden_has_not_vanished(tmp_path: Path) -> None:
    """Reads may not show a new task for a while: no repair frees its key before, and then it is there."""
    async with place(tmp_path, settle=600) as here:
        here.simulator.order_fault(Fault(operation="tasks.create", kind="hidden", seconds=60))
        run_id = await here.push(orders(2))
        auditor = Auditor(here, tmp_path)
        found = await auditor.find()
        assert [each.kind for each in found] == [Kind.VANISHED] * 2
        assert all("may show an old state until" in each.details for each in found)
        assert await auditor.repair(run_id, found) == []
        here.simulator.advance(61)
        assert await auditor.find() == []


@ACCOUNTS
async def test_one_answer_of_404_proves_nothing(tmp_path: Path, account: str) -> None:
    """A task that a stale read does not show, and the next one does, is there."""
    async with place(tmp_path, account) as here:
        mode = BY_ACCOUNT[account]
        await here.push(orders(3), mode=mode)
        if account == "platform":  # the list shows nothing either
            here.simulator.order_fault(Fault(operation="platform.tasks.list", kind="status", status=403))
        here.simulator.order_fault(Fault(operation=DETAIL[mode], kind="status", status=404, times=3))
        auditor = Auditor(here, tmp_path)
        before = auditor.calls()
        assert await auditor.find() == []
        assert (auditor.calls() - before)[DETAIL[mode]] == 6


async def test_a_repair_reads_once_more(tmp_path: Path) -> None:
    """What came back since it was found is left alone, and so is an order that no longer has the state created."""
    async with place(tmp_path, "plain", settle=0) as here:
        auditor = Auditor(here, tmp_path)
        run_id = await here.push(orders(3))
        here.simulator.order_fault(Fault(operation="tasks.get", kind="status", status=404))
        found = await auditor.find()
        assert [each.kind for each in found] == [Kind.VANISHED] * 3
        here.simulator.clear_faults()
        here.simulator.remove((await here.tasks(run_id))["T-1"])
        assert await auditor.repair(run_id, found) == ["T-1"]
        assert await auditor.repair(run_id, found) == []
        assert len(await here.ledger.decisions(run_id)) == 1


@ACCOUNTS
async def test_what_others_did_is_named(tmp_path: Path, account: str) -> None:
    """A cancelled task, and one whose price was changed, with both values; other statuses are a task's life."""
    async with place(tmp_path, account, dates="offset") as here:
        auditor, mode = Auditor(here, tmp_path), BY_ACCOUNT[account]
        raised = order("T-4", min_price=order().price, max_price=order().price, increment=order().price)
        run_id = await here.push([*orders(4), raised], mode=mode)
        tasks = await here.tasks(run_id)
        here.simulator.move(tasks["T-0"], "cancelled")
        for key in ("T-1", "T-4"):
            record = here.simulator._service.tasks.find(tasks[key])
            record.new_course().price = 999_000
        here.simulator.move(tasks["T-2"], "complete", through=True)
        found = {each.key: each for each in await auditor.find()}
        assert {key: each.kind for key, each in found.items()} == {"T-0": Kind.CANCELLED, "T-1": Kind.CHANGED}
        assert "price was sent as 5, but is now 9.99" in found["T-1"].details
        assert await auditor.repair(run_id, list(found.values())) == ["T-0"]
        assert (await here.states(run_id))["T-1"] is OrderState.CREATED
        assert await auditor.kinds() == {"T-1": Kind.CHANGED}


async def test_a_changed_task_was_changed_in_words(tmp_path: Path) -> None:
    """Spaces and capitals of an address are the same; another street, window, name or zip code is not."""
    async with place(tmp_path) as here:
        first = order("T-0")
        assert first.to_time_window is not None
        until = first.to_time_window.end_time_utc
        later = TimeWindow(start_time_utc=until, end_time_utc=until + timedelta(hours=1))
        pairs: list[tuple[Any, dict[str, Any]]] = [
            (first, {"from_address": {"street_address": " 1  PIONEER rd", "country": "SG"}}),
            (attrs.evolve(first, tracking_id="T-1"), {"from_address": {"street_address": "2 Pioneer Rd"}}),
            (attrs.evolve(first, tracking_id="T-2"), {"invoice_number": "INV-2"}),
            (attrs.evolve(first, tracking_id="T-3", invoice_number="INV-3"), {"invoice_number": "INV-4"}),
            (attrs.evolve(first, tracking_id="T-4"), {"to_time_window": later}),
        ]
        run_id = await here.push([each for each, _ in pairs])
        tasks = await here.tasks(run_id)
        for number, (_, changes) in enumerate(pairs):
            task = await here.gs.platform.tasks.get(tasks[f"T-{number}"])
            await here.gs.platform.tasks.update(task, **changes)
        found = {each.key: each for each in await Auditor(here, tmp_path).find()}
        assert found.keys() == {"T-1", "T-3", "T-4"}
        assert f"but is now {written(later.start_time_utc, seconds=True)} to " in found["T-4"].details
        assert "from_address.street_address was sent as 1 pioneer rd" in found["T-1"].details


async def test_a_draft_that_is_called_created_is_named(tmp_path: Path) -> None:
    """A service that was put back to before a broadcast has the draft: undo and another push bring it to a driver."""
    async with place(tmp_path) as here:
        run_id = await here.push(orders(1), mode=Mode.TWO_PHASE)
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="reset"))
        run_id = await here.push(orders(1, "S-"), mode=Mode.TWO_PHASE)
        here.simulator.clear_faults()
        moment = here.simulator.now()
        push = Push(here.gs, here.ledger, mode=Mode.TWO_PHASE)
        async with await here.ledger.hold(run_id) as run:
            await push.send(run)
        assert await here.states(run_id) == {"S-0": OrderState.CREATED}
        here.simulator.restore(moment)
        assert await Auditor(here, tmp_path).kinds() == {"S-0": Kind.DRAFT}
        await Undo(here.gs, here.ledger).undo(run_id, keys=["S-0"])
        await here.push(orders(1, "S-"), mode=Mode.TWO_PHASE)
        assert live(here) == {"T-0": 1, "S-0": 1}
        assert await Auditor(here, tmp_path).kinds() == {}


async def test_a_live_task_of_a_cancelled_order_is_named(tmp_path: Path) -> None:
    """The ledger frees the key of a cancelled order: if its task lives, the next push is a second driver."""
    async with place(tmp_path) as here:
        run_id = await here.push(orders(2))
        task_id = (await here.tasks(run_id))["T-0"]
        run = await here.ledger.hold(run_id)
        async with run:
            (row,) = [row async for row in run.rows() if row.key == "T-0"]
            await run.write_off({row.id: task_id}, {row.id: "taken back"}, by="Mei")
        (found,) = await Auditor(here, tmp_path).find()
        assert (found.kind, found.key, found.task_ids) == (Kind.ALIVE, "T-0", (task_id,))


@pytest.mark.parametrize("switches", [{}, {"meta": "absent"}])
@pytest.mark.parametrize("name", ["T-1", "t-1"])
async def test_a_key_that_is_live_twice_is_named(tmp_path: Path, name: str, switches: dict[str, Any]) -> None:
    """A second ledger sent it again; a task that was cancelled, or is picked up at another time, is no double."""
    async with place(tmp_path, per_page_limit=3, **switches) as here:
        run_id = await here.push(orders(5))
        create = here.gs.tasks.create
        (double,) = (await create([order(name)])).tasks
        (cancelled,) = (await create([order("T-2")])).tasks
        await here.gs.tasks.cancel(cancelled.id, reason="a double")
        await create([order("T-3", from_time_window=window(timedelta(hours=2)))])
        await create([order("STRANGER"), order("STRANGER")])
        (found,) = await Auditor(here, tmp_path).find()
        assert (found.kind, found.key) == (Kind.TWICE, "T-1")
        assert found.task_ids == ((await here.tasks(run_id))["T-1"], double.id)


async def test_a_task_list_that_is_not_whole_is_named(tmp_path: Path) -> None:
    """Keys that are live twice may be on the part that is not shown; an audit that was stopped says so again."""
    async with place(tmp_path) as here:
        await here.push(orders(2))
        auditor = Auditor(here, tmp_path)
        with list_tells(here.gs, lambda _: {"tasks": [], "meta": {"total": 5}}):
            for most_reads in (2, None):
                assert await auditor.find(most_reads=most_reads) == []
                assert bool(auditor.audit.incomplete) is (most_reads is not None)
                assert "the Task List is incomplete (of 5 tasks only 0 were shown)" in auditor.audit.remarks[0]


async def test_one_task_of_two_orders_is_named(tmp_path: Path) -> None:
    """Whichever run has the second one."""
    async with place(tmp_path, "plain") as here:
        first = await here.push(orders(1))
        second = await here.push(orders(1, "OTHER-"))
        (task_id,) = (await here.tasks(first)).values()
        ids = json.dumps([task_id])
        await here.ledger.write(lambda db: db.driver.execute("UPDATE results SET ids = ?", (ids,)))
        for run, key in ((first, "T-0"), (second, "OTHER-0")):
            found = [each for each in await Auditor(here, tmp_path).find(run=run) if each.kind is Kind.SHARED]
            assert [(each.key, each.task_ids) for each in found] == [(key, (task_id,))]


async def test_a_task_that_this_account_may_not_read_has_not_vanished(tmp_path: Path) -> None:
    """403 is something else than 404: nothing can be repaired."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.push(orders(2))
        here.simulator.order_fault(Fault(operation="tasks.get", kind="status", status=403))
        found = await Auditor(here, tmp_path).find()
        assert [each.kind for each in found] == [Kind.UNREADABLE] * 2
        assert await Auditor(here, tmp_path).repair(run_id, found) == []


async def test_a_single_task_that_fails_does_not_end_it(tmp_path: Path) -> None:
    """It is named, and the others are compared."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.push(orders(12))
        lost = (await here.tasks(run_id))["T-7"]
        here.simulator.remove((await here.tasks(run_id))["T-9"])
        auditor = Auditor(here, tmp_path)
        here.simulator._service.tasks.find(lost).id = "another"  # what it answers is no answer about this task
        assert await auditor.kinds() == {"T-7": Kind.UNREADABLE, "T-9": Kind.VANISHED}


async def test_a_service_that_fails_in_the_middle_is_not_taken_for_an_answer(tmp_path: Path) -> None:
    """Nothing is called vanished; started again, the audit reads only what it had not read."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.push(orders(60))
        here.simulator.remove((await here.tasks(run_id))["T-10"])
        here.simulator.order_fault(Fault(operation="tasks.get", kind="status", status=500, after_calls=30))
        auditor = Auditor(here, tmp_path)
        assert await auditor.find() == []
        assert "could not all be read" in auditor.audit.incomplete
        assert auditor.audit.error is not None
        assert stat.S_IMODE((tmp_path / "notes.db").stat().st_mode) == 0o600
        here.simulator.clear_faults()
        before = auditor.calls()
        assert await auditor.kinds() == {"T-10": Kind.VANISHED}
        assert (auditor.calls() - before)[
            "tasks.get"
        ] <= 60 - 30 + 1 + 8  # the vanished one twice, and those that failed
        assert not (tmp_path / "notes.db").exists()


@ACCOUNTS
async def test_the_reads_are_bounded_and_the_next_audit_continues(tmp_path: Path, account: str) -> None:
    """Each audit makes at most so many; together they read each page and each task as one would."""
    async with place(tmp_path, account, per_page_limit=3) as here:
        mode = BY_ACCOUNT[account]
        run_id = await here.push(orders(40), mode=mode)
        here.simulator.remove((await here.tasks(run_id))["T-33"])
        auditor, reads, found = Auditor(here, tmp_path), 0, list[Finding]()
        before = auditor.calls()
        for _ in range(30):
            found = await auditor.find(most_reads=7)
            assert auditor.audit.reads <= 7
            reads += auditor.audit.reads
            if not auditor.audit.incomplete:
                break
            assert "7 reads" in auditor.audit.incomplete
        assert [(each.key, each.kind) for each in found] == [("T-33", Kind.VANISHED)]
        assert (auditor.calls() - before)[DETAIL[mode]] == (41 if account == "plain" else 2)
        assert reads <= 41 + 1 + (16 if account == "platform" else 0)


@pytest.mark.parametrize("status", [404, 400, 200])
async def test_a_list_that_became_shorter_is_read_from_its_beginning_again(tmp_path: Path, status: int) -> None:
    """The page that the stopped audit reached is gone: that is said, and nothing is passed over."""
    async with place(tmp_path, per_page_limit=3, meta="absent") as here:
        await here.push(orders(12))
        auditor = Auditor(here, tmp_path)
        await auditor.find(most_reads=3)
        assert auditor.audit.incomplete
        transport = here.gs.session._transport
        send = transport.send

        async def shorter(request: Request) -> Response:
            answer = await send(request)
            is_gone = re.search(r"page=([3-9]|\d\d)&", request.url)
            return attrs.evolve(answer, status=status, body=b'{"tasks": []}') if is_gone else answer

        with patch.object(transport, "send", shorter):
            assert await auditor.find() == []
        again, *others = auditor.audit.remarks
        assert again == "the Task List no longer has page 3: the audit reads the list again from page 1"
        assert all(other.startswith("the Task List is incomplete (page 3 was refused") for other in others)
        assert (auditor.audit.incomplete, auditor.audit.orders) == ("", 12)


async def test_notes_grow_old(tmp_path: Path) -> None:
    """What was read too long ago is read again; notes that are damaged are begun anew."""
    async with place(tmp_path, "plain") as here:
        await here.push(orders(10))
        auditor = Auditor(here, tmp_path)
        await auditor.find(most_reads=6)
        await auditor.find(fresh=0.0)
        assert (auditor.audit.reads, auditor.audit.incomplete) == (10, "")
        await auditor.find(most_reads=6)
        (tmp_path / "notes.db").write_bytes(b"no database " * 1000)
        await auditor.find()
        assert (auditor.audit.reads, auditor.audit.incomplete) == (10, "")


async def test_an_account_that_cannot_sign_in_ends_it(tmp_path: Path) -> None:
    """A token that is refused is an error, and no finding."""
    async with place(tmp_path, "plain") as here:
        await here.push(orders(3))
        here.simulator.order_fault(Fault(operation="tasks.get", kind="status", status=401))
        auditor = Auditor(here, tmp_path)
        assert await auditor.find() == []
        assert auditor.audit.error is not None
        assert isinstance(auditor.audit.error, SignInNeeded) or "401" in str(auditor.audit.error)


async def test_result_files_that_the_ledger_contradicts_are_named(tmp_path: Path) -> None:
    """A task that the ledger does not have, another order's task, and a run that it does not have."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.push(orders(3))
        info = await here.ledger.run(run_id)
        await write_results(here.ledger, info, tmp_path)
        file = tmp_path / f"{run_id}-created.jsonl"
        tasks = await here.tasks(run_id)
        text = file.read_text()
        file.write_text(text.replace(tasks["T-0"], "unknown").replace(tasks["T-1"], tasks["T-2"]))
        summary = (tmp_path / f"{run_id}-summary.json").read_text()
        (tmp_path / "20260101T000000-aaaa-summary.json").write_text(summary)
        (tmp_path / "20260101T000000-bbbb-summary.json").write_text(
            summary.replace('"ledger_id": "', '"ledger_id": "x')
        )
        (tmp_path / "20260101T000000-cccc-summary.json").write_text("not whole")
        found = await Auditor(here, tmp_path).find()
        assert {each.kind for each in found} == {Kind.FILE}
        assert {(each.run, each.key) for each in found} == {(run_id, "T-0"), ("20260101T000000-aaaa", "")}
        file.write_text("no JSON")
        assert ["is not a JSON" in each.details for each in await Auditor(here, tmp_path).find(run=run_id)][:1] == [
            True
        ]
