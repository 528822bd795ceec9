"""The events of the section "Task Status Updated": what is to be sent to a partner, and the answers."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from attrs import define, field, frozen

from gotsurge_async.simulator.faults import Fault
from gotsurge_async.simulator.loopback import is_here

MOST_EVENTS = 100_000
MOST_BYTES = 64 << 20
"""Finished events that are kept, and their bytes, at most; the oldest is forgotten first, a waiting one never."""

State = Literal["delivered", "waiting", "lost", "given up"]


@frozen
class Try:
    """One request: its time, the answer's status (0: no answer), the seconds it took, and the answer's body."""

    at: float
    status: int
    seconds: float
    answer: str


@define(eq=False)
class Event:
    """One change of a task's status, and the tries to send it; ``next_at`` is when the next one is due."""

    number: int
    account: str
    task_id: str
    tracking_id: str
    status: str
    at: float
    body: bytes = field(repr=False)
    faults: tuple[Fault, ...] = ()
    state: State = "waiting"
    tries: list[Try] = field(factory=list)
    next_at: float | None = None

    def has(self, kind: str) -> Fault | None:
        """The fault of a kind that struck it."""
        return next((fault for fault in self.faults if fault.kind == kind), None)

    def described(self) -> dict[str, Any]:
        """The event as JSON, without its body."""
        return {
            "number": self.number,
            "account": self.account,
            "task_id": self.task_id,
            "tracking_id": self.tracking_id,
            "status": self.status,
            "at": self.at,
            "state": self.state,
            "faults": [fault.kind for fault in self.faults],
            "tries": [
                {"at": made.at, "status": made.status, "seconds": round(made.seconds, 4), "answer": made.answer}
                for made in self.tries
            ],
            "next_at": self.next_at,
        }


class Events:
    """All events by their numbers, the oldest first, and their count."""

    def __init__(self) -> None:
        self._by_number: dict[int, Event] = {}
        self._made = 0
        self._bytes = 0
        self._answers: Counter[str] = Counter()

    def add(self, event: Event) -> None:
        """Number and keep an event; finished ones are forgotten where there are too many."""
        self._made += 1
        event.number = self._made
        self._by_number[event.number] = event
        self._bytes += len(event.body)
        while len(self._by_number) > MOST_EVENTS or self._bytes > MOST_BYTES:
            number, oldest = next(iter(self._by_number.items()))
            if oldest.state == "waiting":
                break
            self._bytes -= len(oldest.body)
            self._answers[oldest.state] += 1
            self._answers["sent"] += len(oldest.tries)
            del self._by_number[number]

    def holds(self, event: Event) -> bool:
        """Whether an event is remembered."""
        return self._by_number.get(event.number) is event

    def find(self, number: int) -> Event:
        """An event by its number; raises LookupError for an unknown or forgotten one."""
        try:
            return self._by_number[number]
        except KeyError:
            raise LookupError(f"there is no event {number}") from None

    def latest(self, count: int) -> Sequence[Event]:
        """The newest events, the newest first."""
        return list(islice(reversed(self._by_number.values()), count))

    def of(self, task_id: str) -> Sequence[Event]:
        """The events of a task, the oldest first."""
        return [event for event in self._by_number.values() if event.task_id == task_id]

    def described(self) -> list[dict[str, Any]]:
        """All events that are remembered, as JSON, the oldest first."""
        return [event.described() for event in self._by_number.values()]

    def count(self) -> dict[str, int]:
        """How many events there were, requests were made, and events are in each state."""
        states: Counter[str] = Counter(event.state for event in self._by_number.values())
        sent = sum(len(event.tries) for event in self._by_number.values()) + self._answers["sent"]
        return {
            "events": self._made,
            "sent": sent,
            **{state.replace(" ", "_"): states[state] + self._answers[state] for state in get_args(State)},
        }


def check_url(url: str, *, anywhere: bool) -> str:
    """A webhook's URL, empty for none; raises ValueError for one that is not to be sent to."""
    if not url or is_here(url):
        return url
    if not anywhere:
        raise ValueError(f"{_origin(url)} is not on this machine: webhooks go elsewhere only where that was allowed")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a webhook's URL begins with http:// or https:// and a host")
    return url


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "that address"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def masked_url(url: str) -> str:
    """A webhook's URL without what may be a secret of its receiver: long segments of its path, query, user."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    path = "/".join(segment if len(segment) < 16 else f"{segment[:2]}…" for segment in parts.path.split("/"))
    return f"{parts.scheme}://{host}{path}" + ("?…" if parts.query else "")
