"""Runs that the processes of desks left: they are resumed, or their orders are not lost."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Created, InDoubt, Unprocessed, codec
from gotsurge_async.bulk import Desk, Ledger, Mode, OrderState
from gotsurge_async.ledger import NewOrder, OrderOutcome
from gotsurge_async.push.desk import submitting
from gotsurge_async.testing import simulated
from tests.support.orders import order
from tests.support.pushes import place

UNDONE = {"undo": {"drafts": False, "ended": True}}


async def left(
    ledger: Ledger, *, options: Mapping[str, Any], as_state: OrderState = OrderState.DRAFTING, submitted: bool = True
) -> str:
    """A two-phase run that a dead desk left, and that a person perhaps undid, with the order T-1."""
    payload, _ = codec.encode_order(order())
    numbers: dict[str, int] = {}
    if submitted:
        await ledger.submitted("local").add("", "T-1", payload)
        (taken,) = await ledger.submitted("local").take("")
        await ledger.submitted("local").put_off([taken])
        numbers["T-1"] = taken.number
    options = {"desk": True, **options}
    run = await ledger.begin(environment="local", mode=Mode.TWO_PHASE, source="desk", options=options)
    async with run:
        await run.admit()
        await run.start()
        (number,) = await run.join([NewOrder(1, "T-1", payload)], numbers)
        assert isinstance(number, int)
        if as_state is OrderState.BROADCASTING:
            await run.record([OrderOutcome(number, OrderState.DRAFTED, "task-1")], broadcast=True)
        elif as_state is OrderState.PENDING:
            await run.release_claim([number])
    return run.id


@pytest.mark.parametrize("submitted", [True, False])
@pytest.mark.parametrize(("as_state", "kind"), [("pending", Unprocessed), ("broadcasting", InDoubt)])
async def test_an_order_of_an_undone_run_has_an_outcome(
    tmp_path: Path, as_state: str, kind: type, submitted: bool
) -> None:
    """No desk resumes the run: an order that waits in it was not sent, and a lost broadcast is in doubt."""
    heard: list[tuple[str, type]] = []
    is_heard = asyncio.Event()
    async with place(tmp_path) as at:
        run = await left(at.ledger, options=UNDONE, as_state=OrderState(as_state), submitted=submitted)

        def note(key: str, outcome: object) -> None:
            heard.append((key, type(outcome)))
            is_heard.set()

        async with Desk(at.gs, at.ledger, on_outcome=note) as desk:
            outcome = await desk.outcome("T-1")
            assert type(outcome) is kind
            assert run in str(outcome.error)  # type: ignore[union-attr]
            if submitted:
                await is_heard.wait()
        assert heard == [("T-1", kind)] * submitted
        assert at.simulator.tasks() == []
        assert (await at.ledger.waiting()).get("local", (0, 0)) == (0, 0)


@pytest.mark.parametrize("at_once", [True, False])
async def test_an_order_of_an_undone_run_may_be_submitted_again(
    tmp_path: Path, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key is free, also before a desk has noted that the order was not sent: then that is reported first."""
    heard: list[type] = []
    is_heard = asyncio.Event()

    def note(_: str, outcome: object) -> None:
        heard.append(type(outcome))
        is_heard.set()

    async with place(tmp_path) as at:
        await left(at.ledger, options=UNDONE)
        with monkeypatch.context() as patch:
            if at_once:
                patch.setattr(submitting.Sender, "_take", lambda _: _nothing())
            async with Desk(at.gs, at.ledger, on_outcome=note) as desk:
                assert isinstance(await desk.outcome("T-1"), Unprocessed)
                if not at_once:
                    await is_heard.wait()
                await desk.submit(order())
        async with Desk(at.gs, at.ledger, on_outcome=note) as desk:
            assert isinstance(await desk.outcome("T-1"), Created)
        assert heard == [Unprocessed, Created]
        assert at.simulator.audit()["by_tracking_id"] == {"T-1": 1}


async def _nothing() -> bool:
    return False


@pytest.mark.parametrize("mode", [None, "direct"])
@pytest.mark.parametrize("submitted", [True, False])
async def test_direct_mode_goes_on_with_a_run_that_was_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str | None, submitted: bool
) -> None:
    """The account is a plain partner's since a two-phase desk died: its order is sent, or its key is free."""
    async with place(tmp_path, "plain") as at:
        run = await left(at.ledger, options={}, submitted=submitted)
        async with Desk(at.gs, at.ledger, mode=mode) as desk:
            outcome = await desk.outcome("T-1")
            if not submitted:
                assert isinstance(outcome, Unprocessed)
                outcome = await desk.create(order())
            assert isinstance(outcome, Created)
        assert f"run {run} of an earlier process cannot be resumed now: Forbidden(" in caplog.text
        assert at.simulator.audit()["by_tracking_id"] == {"T-1": 1}
        assert await at.states(run) == {"T-1": OrderState.SUPERSEDED}


async def test_a_refusal_that_passes_leaves_a_run_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A desk that may use drafts resumes it at a later look, and says why it could not before."""
    async with place(tmp_path) as at:
        run = await left(at.ledger, options={})
        async with simulated("plain", simulator=at.simulator) as other:
            refused = Desk(other, at.ledger, mode="two-phase")
            await refused._runs._resume_left()
        assert refused._runs.refused == set()
        assert "cannot be resumed now: Forbidden(" in caplog.text
        async with Desk(at.gs, at.ledger) as desk:
            assert isinstance(await desk.outcome("T-1"), Created)
        assert await at.states(run) == {"T-1": OrderState.CREATED}


async def test_a_refusal_says_nothing_of_what_was_being_broadcast(tmp_path: Path) -> None:
    """It may pass: the outcome is unknown until a desk that may read the task settles it."""
    async with place(tmp_path) as at:
        run = await left(at.ledger, options={}, as_state=OrderState.BROADCASTING)
        async with simulated("plain", simulator=at.simulator) as other:
            refused = Desk(other, at.ledger)
            await refused._runs._resume_left()
            assert refused._runs.refused == {run}
            assert await refused._sender.outcome("T-1", 0) is None
        async with Desk(at.gs, at.ledger) as desk:
            assert isinstance(await desk.outcome("T-1"), InDoubt)  # GotSurge has no such task
