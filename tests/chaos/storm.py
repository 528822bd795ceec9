"""Pushes a file by a crew, with whatever is done to it meanwhile, and judges what came of it."""

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import attrs
import psycopg

from tests.chaos.crew import PLAIN, Crew, Service, Worker, started, until
from tests.chaos.judge import Verdict, judged
from tests.chaos.ledger_watch import Watch
from tests.support.commands import write_orders
from tests.support.postgres import Server

LEASE = 3.0
"""Seconds, of the workers' segments: short, so that much is taken over in a short time."""
LATE = 5.0
"""Seconds after the end of a lease in which what a dead worker had must be taken over."""

STATEMENT_SECONDS = 0.2
"""Longer than the server needs for what a worker sent before it was frozen."""
MUCH = 20
"""Chunks that wait in the segments of a worker who has just begun with them."""

DEADLOCKS = 10
"""How often the server may end the emptying of the queue, and not the worker that it waits for."""

Blow = Callable[["Storm"], None]


@attrs.define
class Storm:
    """A push under way.

    Attributes:
        url: of the ledger.
        later: what is to be done at a moment: to wake who stands still, or to heal who is cut off.
        done: what was done, for people.
    """

    service: Service
    server: Server
    crew: Crew
    watch: Watch
    url: str
    random: Random
    later: list[tuple[float, Callable[[], None]]] = attrs.field(factory=list)
    done: list[str] = attrs.field(factory=list)

    def tick(self) -> None:
        """Do what is always done: start those that ended, do what is due, look on."""
        self.crew.look()
        now = time.monotonic()
        for due in [each for each in self.later if each[0] <= now]:
            due[1]()
            self.later.remove(due)
        self.watch.look()
        time.sleep(0.05)

    def victim(self) -> Worker | None:
        """One of those that have something in hand now, by chance; None if nobody has."""
        busy = list(filter(self.watch.held_by, self.crew.living()))
        return self.random.choice(busy) if busy else None


def kill(storm: Storm) -> None:
    """Kill a random worker, if one has anything in hand."""
    if (worker := storm.victim()) is not None:
        worker.kill()
        storm.watch.has_died(worker, time.monotonic())
        storm.done.append("kill")


def freeze(storm: Storm) -> None:
    """Have a random worker stand still for longer than its lease."""
    if (worker := storm.victim()) is not None:
        worker.freeze()
        storm.later.append((time.monotonic() + LEASE * storm.random.uniform(1.3, 2.5), worker.wake))
        storm.done.append("freeze")


def freeze_until_overtaken(storm: Storm) -> None:
    """Have a worker stand still, in no transaction, until others have brought to its end what it had in hand."""
    while True:
        until(lambda: any(storm.watch.left_to(worker) >= MUCH for worker in storm.crew.living()), 30, "one at work")
        worker = max(storm.crew.living(), key=storm.watch.left_to)
        worker.freeze()
        time.sleep(STATEMENT_SECONDS)
        if not storm.watch.stands_in_transaction():
            break
        worker.wake()  # the server would end its session, and it would only begin anew
    held = storm.watch.held_by(worker)

    def is_overtaken() -> bool:
        storm.tick()
        return not held.keys() & storm.watch.open_segments().keys()

    until(is_overtaken, 240, "the others to overtake one that stands still")
    worker.wake()
    storm.done.append("freeze until overtaken")


def crash_database(storm: Storm) -> None:
    """Have the database crash, and come back."""
    storm.server.stop("immediate")
    storm.server.start()
    storm.watch.disturb()
    storm.done.append("database crash")


def empty_queue(storm: Storm) -> None:
    """Truncate all tables of the queue."""
    with psycopg.connect(storm.url, autocommit=True) as database:
        names = database.execute(
            "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables "
            "WHERE schemaname = current_schema() AND tablename LIKE 'procrastinate_%'"
        ).fetchone()
        assert names is not None
        assert names[0], "there is no queue"
        for left in reversed(range(DEADLOCKS)):
            try:
                database.execute(f"TRUNCATE {names[0]} CASCADE".encode())
                break
            except psycopg.errors.DeadlockDetected:  # a worker locks these tables in another order
                if not left:
                    raise
    storm.watch.disturb()
    storm.done.append("queue emptied")


def lose_answers(service: Service, rate: float) -> None:
    """Have a part of all calls act, or not, and lose the answer."""
    share = rate / 4
    for number, (when, kind) in enumerate(
        [("after", "reset"), ("after", "half"), ("after", "garbage"), ("before", "reset")]
    ):
        service.order(operation="*", when=when, kind=kind, rate=share, seed=number + 1)


@contextmanager
def storm(
    folder: Path, service: Service, server: Server, mode: str, *, orders: int, seed: int, **crew: Any
) -> Iterator[tuple[Storm, list[str]]]:
    """A file that is loaded and put up, and a crew that begins to send it; with the orders' tracking ids."""
    url = server.create(f"fleet_{mode.replace('-', '_')}_{seed}_{time.monotonic_ns()}")
    keys = [f"{mode}-{seed}-{number}" for number in range(orders)]
    file = write_orders(folder / "orders.csv", keys)
    place = ["--env", "local", "--api-base", service.api_base, "--ledger", url]
    words = [*place, "--lease", str(LEASE), *crew.pop("words", ())]
    reached_by: Mapping[int, Mapping[int, int]] = crew.pop("reached_by", {})
    crew["own_words"] = {number: by_other_ports(place, ports) for number, ports in reached_by.items()}
    run_command(folder, "db", "upgrade", "--ledger", url)
    push = ["push", file, *place, *PLAIN[mode], "--mode", mode, "--distributed", "--no-wait", "--out", folder / "out"]
    run_command(folder, *push)
    with psycopg.connect(url) as database:
        ((run_id,),) = database.execute("SELECT id FROM runs").fetchall()
    watch = Watch(url, run_id)
    with closing(watch), Crew(folder / "crew", words, **crew) as hired:
        yield Storm(service, server, hired, watch, url, Random(seed)), keys


def by_other_ports(words: Sequence[str], ports: Mapping[int, int]) -> list[str]:
    """Words in which addresses have other ports."""
    return [
        re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda port: str(ports.get(int(port[0]), port[0])), word) for word in words
    ]


def run_command(folder: Path, *words: str | Path) -> None:
    """Run ``gotsurge WORDS`` to its end, which must be a good one."""
    log = folder / "commands.log"
    assert started(["gotsurge_async", *words], folder / "home", log).wait(300) == 0, log.read_text()[-4000:]


def weather(
    storm: Storm,
    blows: Sequence[tuple[float, Blow]],
    *,
    every: float | None,
    seconds: float,
    ends: Collection[str] = ("done",),
) -> None:
    """Go on until the run is over: blows when a part of it is settled, and a kill every few seconds.

    Args:
        every: seconds from one kill to the next; None for none.
        seconds: how long it may take.
        ends: where the run may stand in the end.
    """
    waiting = sorted(blows, key=lambda each: each[0])
    late = time.monotonic() + seconds
    next_kill = time.monotonic() + (every or seconds)
    while (state := storm.watch.state()) not in ("done", "stopped"):
        assert time.monotonic() < late, f"{storm.done}: {storm.watch.settled():.0%} in {seconds} s; {_logs(storm)}"
        storm.tick()
        if waiting and storm.watch.settled() >= waiting[0][0]:
            waiting.pop(0)[1](storm)
        elif every is not None and time.monotonic() >= next_kill:
            kill(storm)
            next_kill = time.monotonic() + every * storm.random.uniform(0.7, 1.3)
    assert state in ends, (state, storm.watch.stopped_by(), _logs(storm))
    assert not waiting, f"it was over before {len(waiting)} blows: more orders, or fewer kills"
    while storm.later:
        storm.tick()


def _logs(storm: Storm) -> str:
    return "\n".join(storm.crew.log(place) for place in range(len(storm.crew.workers)))


def verdict_of(storm: Storm, keys: Sequence[str]) -> Verdict:
    """Judge it by what the service has."""
    audit = storm.service.audit()
    mine = set(keys)
    rows = storm.watch.ask("SELECT key, state, task_id FROM each_order")
    tasks = [task for task in storm.service.tasks() if task["tracking_id"] in mine]
    verdict = judged(keys, rows, tasks)
    assert mine & audit["doubled"].keys() == set(verdict.doubled), "the service's audit says so too"
    return verdict


def taken_over(storm: Storm, seconds: float) -> list[float]:
    """How long it took to take over what dead workers had, where nothing else was wrong meanwhile."""
    until(
        lambda: storm.watch.look() or all(each.seconds is not None for each in storm.watch.take_overs), seconds, "all"
    )
    return sorted(each.seconds for each in storm.watch.take_overs if each.seconds is not None and not each.disturbed)
