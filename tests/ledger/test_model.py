"""The ledger against a plain model of it: any order of calls, by any number of runs."""

import asyncio
import sqlite3
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from gotsurge_async.ledger import (
    LIVE,
    IllegalTransition,
    Ledger,
    Mode,
    OrderOutcome,
    OrderRow,
    OrderState,
    Run,
    RunHeld,
)
from gotsurge_async.ledger.sql.marks import RECORDED
from gotsurge_async.ledger.states import WAITING
from tests.ledger.kit import TurnedClock, order
from tests.support.postgres import Server

S = OrderState
S2 = Mode.TWO_PHASE
KEYS = st.lists(st.sampled_from("abcdef"), max_size=5)
UNDECIDED = LIVE - {S.CREATED, S.IN_DOUBT}
WITH_DRAFT = {S.DRAFTED, S.BROADCASTING, S.IN_DOUBT}


class LedgerMachine(RuleBasedStateMachine):
    """Runs begin, send, crash and come back; the model says after each step what the ledger must hold."""

    open_runs = Bundle("open_runs")
    closed_runs = Bundle("closed_runs")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.model: dict[str, dict[str, OrderState]] = {}
        self.modes: dict[str, Mode] = {}
        self.held: set[str] = set()

    def do(self, what: Any) -> Any:
        """Run a coroutine to its end."""
        return self.loop.run_until_complete(what)

    @initialize()
    def open(self) -> None:
        """A new ledger."""
        where, self.reader = self.place()
        self.ledger: Ledger = self.do(Ledger.open(where, clock=TurnedClock()))

    def place(self) -> tuple[str, Any]:
        """Where the ledger is, and a connection to look into it."""
        path = str(Path(self.folder.name) / "ledger.db")
        return path, sqlite3.connect(path)

    def teardown(self) -> None:
        """Close everything."""
        self.reader.close()
        self.do(self.ledger.close())
        self.loop.close()
        self.folder.cleanup()

    def owner(self, key: str) -> tuple[str, OrderState] | None:
        """The run that owns a key in the model, and the state of that order."""
        owners = [(run, rows[key]) for run, rows in self.model.items() if rows.get(key) in LIVE]
        assert len(owners) <= 1
        return owners[0] if owners else None

    @rule(target=open_runs, keys=KEYS, mode=st.sampled_from(Mode))
    def push(self, keys: list[str], mode: Mode) -> Any:
        """Begin a run with some keys; it is admitted, or refused and discarded."""
        run: Run = self.do(self.ledger.begin(environment="e", mode=mode, source="s"))
        # Of a key the order is the same in every run, whatever its line.
        self.do(run.add([replace(order(ord(key), key), line=line) for line, key in enumerate(keys, 1)]))
        owners = {key: owner for key in keys if (owner := self.owner(key))}
        if len(set(keys)) < len(keys):
            assert self.do(run.admit()).doubled
        elif any(
            (state in UNDECIDED or (state is S.IN_DOUBT and mode is S2 and self.modes[other] is S2))
            and other in self.held
            for other, state in owners.values()
        ):
            with pytest.raises(RunHeld) as caught:
                self.do(run.admit())
            assert caught.value.run_id in self.held
        else:
            admission = self.do(run.admit())
            rows = self.model[run.id] = dict.fromkeys(keys, S.PENDING)
            for key, (other, state) in owners.items():
                if state in WITH_DRAFT and mode is S2 and self.modes[other] is S2:
                    rows[key] = S.DRAFTED if state is S.DRAFTED else S.BROADCASTING
                    self.model[other][key] = S.SUPERSEDED
                elif state in WAITING:
                    self.model[other][key] = S.SUPERSEDED
                else:
                    rows[key] = S.ALREADY_PUSHED
                    if state is S.SENDING:
                        self.model[other][key] = S.IN_DOUBT
            assert admission.pending == sum(state is not S.ALREADY_PUSHED for state in rows.values())
            self.held.add(run.id)
            self.modes[run.id] = mode
            return run
        self.do(run.discard())
        return multiple()

    def chosen(self, run: Run, choice: int) -> dict[int, str]:
        """Some of the orders of a run, by id."""

        async def rows() -> dict[int, str]:
            return {row.id: row.key async for row in run.rows() if choice >> (row.line - 1) & 1}

        found: dict[int, str] = self.do(rows())
        return found

    @rule(run=open_runs, choice=st.integers(1, 31), broadcast=st.booleans())
    def claim(self, run: Run, choice: int, broadcast: bool) -> None:
        """Claim some orders, whatever their state."""
        some = self.chosen(run, choice)
        rows = self.model[run.id]
        two_phase = run.info.mode is Mode.TWO_PHASE
        source = S.DRAFTED if broadcast else S.PENDING
        target = S.BROADCASTING if broadcast else S.DRAFTING if two_phase else S.SENDING
        claimed = self.do(run.claim_broadcast(list(some)) if broadcast else run.claim(list(some)))
        assert claimed == [order_id for order_id, key in some.items() if rows[key] is source]
        for order_id in claimed:
            rows[some[order_id]] = target

    @rule(run=open_runs, choice=st.integers(1, 31))
    def claim_to_read(self, run: Run, choice: int) -> None:
        """Claim what may have been broadcast, and doubts with a task, to read them."""
        some = self.chosen(run, choice)
        rows = self.model[run.id]
        claimed = self.do(run.claim_to_read(list(some)))
        known = {row.id for row in self.do(self.tasks(run)) if row.task_id}
        may = {
            each
            for each, key in some.items()
            if rows[key] is S.BROADCASTING or (rows[key] is S.IN_DOUBT and each in known)
        }
        assert set(claimed) == may
        for order_id in claimed:
            rows[some[order_id]] = S.BROADCASTING

    async def tasks(self, run: Run) -> list[OrderRow]:
        """The orders of a run."""
        return [row async for row in run.rows()]

    @rule(run=open_runs, choice=st.integers(1, 31), state=st.sampled_from(list(RECORDED)))
    def record(self, run: Run, choice: int, state: OrderState) -> None:
        """Record an outcome for some orders, which is legal for all of them or recorded for none."""
        some = self.chosen(run, choice)
        # One task for each key, whoever asks for it: what another one would do is tested elsewhere.
        outcomes = [OrderOutcome(each, state, f"task-{key}") for each, key in some.items()]
        self.legally(run, some, RECORDED[state], run.record(outcomes), lambda _: state)

    @rule(run=open_runs, choice=st.integers(1, 31))
    def release(self, run: Run, choice: int) -> None:
        """Release some orders, all of them claimed or none."""
        some = self.chosen(run, choice)
        claimed = frozenset({S.SENDING, S.DRAFTING, S.BROADCASTING})
        after = {S.SENDING: S.PENDING, S.DRAFTING: S.PENDING, S.BROADCASTING: S.DRAFTED}
        self.legally(run, some, claimed, run.release_claim(list(some)), after.__getitem__)

    def legally(self, run: Run, some: dict[int, str], legal: frozenset[OrderState], call: Any, after: Any) -> None:
        """Make a call that is legal in some states only, and move the model on if it is."""
        rows = self.model[run.id]
        if all(rows[key] in legal for key in some.values()):
            self.do(call)
            for key in some.values():
                rows[key] = after(rows[key])
            return
        with pytest.raises(IllegalTransition):
            self.do(call)

    @rule(target=closed_runs, run=consumes(open_runs))
    def close(self, run: Run) -> str:
        """A process lets a run go, or dies."""
        self.do(run.close())
        self.held.remove(run.id)
        return run.id

    @rule(target=open_runs, run_id=consumes(closed_runs))
    def resume(self, run_id: str) -> Run:
        """Another process takes a run up."""
        run: Run = self.do(self.ledger.hold(run_id))
        self.held.add(run_id)
        self.do(run.start())
        self.do(run.recover())
        self.do(run.finish())
        after = {S.SENDING: S.IN_DOUBT, S.DRAFTING: S.PENDING}
        self.model[run_id] = {key: after.get(state, state) for key, state in self.model[run_id].items()}
        return run

    @invariant()
    def the_ledger_holds_what_the_model_holds(self) -> None:
        """Every order of every run is in the model's state."""

        if hasattr(self, "ledger"):
            found: dict[str, dict[str, str]] = {run: {} for (run,) in self.reader.execute("SELECT id FROM runs")}
            for run, key, state in self.reader.execute("SELECT run_id, key, state FROM each_order"):
                found[run][key] = state
            assert found == self.model


SETTINGS = settings(max_examples=15, stateful_step_count=20, deadline=None)
_numbers = count(1)


@pytest.mark.slow
def test_in_a_file() -> None:
    """A ledger in SQLite."""
    run_state_machine_as_test(LedgerMachine, settings=SETTINGS)


@pytest.mark.slow
def test_on_a_server(postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger in PostgreSQL."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    class OnAServer(LedgerMachine):
        def place(self) -> tuple[str, Any]:
            url = postgres.create(f"model_{next(_numbers)}")
            return url, psycopg.connect(url, autocommit=True)

    run_state_machine_as_test(OnAServer, settings=settings(SETTINGS, max_examples=8))
