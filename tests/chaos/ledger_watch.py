"""What is looked at in the ledger's database from outside while a fleet works: segments, and who has them."""

import time
from contextlib import suppress
from typing import Any

import attrs
import psycopg

from tests.chaos.crew import Worker


@attrs.define
class TakeOver:
    """Segments that a dead worker had, until others have taken them.

    Attributes:
        since: when it died.
        left: their numbers with the epochs that it had; those are struck out that another one has.
        seconds: how long it took, when none is left.
        disturbed: the database was away meanwhile, which is no part of what is measured.
    """

    since: float
    left: dict[int, int]
    seconds: float | None = None
    disturbed: bool = False


class Watch:
    """Looks at one run, on a connection that is made anew when it is lost."""

    def __init__(self, url: str, run_id: str) -> None:
        self._url = url
        self._run_id = run_id
        self._connection: psycopg.Connection[Any] | None = None
        self.take_overs: list[TakeOver] = []

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a statement gives; the database may be away for a while."""
        for _ in range(300):
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(self._url, autocommit=True)
                return self._connection.execute(statement.encode(), values).fetchall()
            except psycopg.OperationalError:
                self.close()
                time.sleep(0.1)
        raise AssertionError("the database does not come back")

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None

    def state(self) -> str:
        """Where the run stands."""
        return str(self.ask("SELECT state FROM runs WHERE id = %s", self._run_id)[0][0])

    def stopped_by(self) -> Any:
        """Why workers were stopped, if they were."""
        return self.ask(
            "SELECT stopped_by FROM distributions JOIN runs ON runs.number = run WHERE id = %s", self._run_id
        )

    def settled(self) -> float:
        """The part of the run's chunks of which nothing waits, or is on its way."""
        ((part,),) = self.ask(
            "SELECT avg((states !~ '[psgdb]')::int)::float FROM chunks JOIN runs ON runs.number = run "
            "WHERE runs.id = %s",
            self._run_id,
        )
        return float(part)

    def held_by(self, worker: Worker) -> dict[int, int]:
        """The segments in a worker's hands, each with its epoch."""
        return dict(
            self.ask(
                "SELECT segments.number, segments.epoch FROM segments JOIN runs ON runs.number = run "
                "WHERE id = %s AND segments.state = 'open' AND worker LIKE %s",
                self._run_id,
                f"%-{worker.pid}-%",
            )
        )

    def left_to(self, worker: Worker) -> int:
        """How many chunks wait in the segments that a worker has in hand."""
        ((number,),) = self.ask(
            "SELECT count(*) FROM segments JOIN runs ON runs.number = segments.run "
            "JOIN chunks ON chunks.run = runs.number AND chunks.id BETWEEN first_chunk AND last_chunk "
            "WHERE runs.id = %s AND segments.state = 'open' AND worker LIKE %s AND states ~ '^p+$'",
            self._run_id,
            f"%-{worker.pid}-%",
        )
        return int(number)

    def stands_in_transaction(self) -> bool:
        """Whether anybody stands still in a transaction: all others are through with theirs in a moment."""
        still = (
            "SELECT pid, xact_start FROM pg_stat_activity WHERE datname = current_database() "
            "AND state = 'idle in transaction'"
        )
        before = set(self.ask(still))
        time.sleep(0.2)
        return bool(before & set(self.ask(still)))

    def open_segments(self) -> dict[int, int]:
        """The segments that are not over, each with its epoch."""
        return dict(
            self.ask(
                "SELECT segments.number, segments.epoch FROM segments JOIN runs ON runs.number = run "
                "WHERE id = %s AND segments.state = 'open'",
                self._run_id,
            )
        )

    def has_died(self, worker: Worker, since: float) -> None:
        """A worker was killed: watch how what it had is taken over."""
        held = self.held_by(worker)
        if held:
            self.take_overs.append(TakeOver(since, held))

    def disturb(self) -> None:
        """What is being taken over takes longer, for a reason of its own."""
        for each in self.take_overs:
            each.disturbed |= each.seconds is None

    def look(self) -> None:
        """See which segments were taken over since."""
        open_ones = [each for each in self.take_overs if each.seconds is None]
        if not open_ones:
            return
        epochs = self.open_segments()
        now = time.monotonic()
        for each in open_ones:
            each.left = {number: epoch for number, epoch in each.left.items() if epochs.get(number) == epoch}
            if not each.left:
                each.seconds = now - each.since
