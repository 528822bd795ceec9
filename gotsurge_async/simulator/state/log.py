"""The latest calls with their answers, and the latest events for webhooks, numbered, within a limit of room."""

import json
import shlex
from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Generic, Literal, Protocol, TypeVar, get_args

from attrs import asdict, define, field, frozen

from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.simulator.faults import Fault

MOST_REQUESTS = 500
MOST_EVENTS = 20_000
BODY_LIMIT = 64 << 10
"""The most bytes that are kept of each call's body, and of its answer."""


class _Entry(Protocol):
    number: int


E = TypeVar("E", bound=_Entry)


class Log(Generic[E]):
    """Entries by their numbers, which count from 1; if there are too many, the oldest are removed."""

    def __init__(self, what: str, most: int) -> None:
        self._what = what
        self._most = most
        self._by_number: OrderedDict[int, E] = OrderedDict()
        self._added = 0

    def add(self, entry: E) -> None:
        """Number and store an entry."""
        self._added += 1
        entry.number = self._added
        self._by_number[entry.number] = entry
        while len(self._by_number) > self._most:
            number, oldest = next(iter(self._by_number.items()))
            if not self._may_forget(oldest):
                break
            del self._by_number[number]

    def _may_forget(self, entry: E) -> bool:
        """Whether the oldest entry may be removed, which then happens."""
        return True

    def holds(self, entry: E) -> bool:
        """Whether the log still has an entry."""
        return self._by_number.get(entry.number) is entry

    def find(self, number: int) -> E:
        """An entry by its number; raises LookupError for an unknown or removed one."""
        try:
            return self._by_number[number]
        except KeyError:
            raise LookupError(f"there is no {self._what} {number}, or it is forgotten") from None

    def latest(self, count: int | None = None) -> Sequence[E]:
        """The newest entries, the newest first; all of them if ``count`` is None."""
        return list(islice(reversed(self._by_number.values()), count))

    def about(self, task_id: str) -> list[E]:
        """The entries about a task, the newest first."""
        return [entry for entry in self.latest() if getattr(entry, "task_id", "") == task_id]


SECRETS = frozenset(
    ("secret_key", "code", "bearer_token", "refresh_token", "session_id", "password", "client_secret", "webhook_url")
)
"""Fields whose values are masked, wherever they stand in a call that signs in."""
MASK = "***"


@define(eq=False)
class LoggedCall:
    """One call of an operation, and its answer; ``status`` is 0 if no whole answer was sent."""

    operation: str
    verb: str
    path: str
    at: float
    account: str = ""
    agent: str = ""
    authorized: bool = False
    body: bytes = field(default=b"", repr=False)
    body_size: int = 0
    answer: bytes = field(default=b"", repr=False)
    answer_size: int = 0
    status: int = 0
    seconds: float = 0.0
    faults: tuple[str, ...] = ()
    acted_at: float | None = None
    """When a delayed call took effect, in seconds since the epoch; None if it was not delayed, or has yet to act."""
    acted_status: int = 0
    """The status with which the service would have answered the late call."""
    task_id: str = ""
    number: int = 0

    @property
    def signs_in(self) -> bool:
        """Whether the call or its answer may contain secrets."""
        return not ENDPOINTS[self.operation].bearer

    def take_body(self, body: bytes) -> None:
        """Store the request's body, cut to the limit."""
        self.body, self.body_size = body[:BODY_LIMIT], len(body)

    def take_answer(self, status: int, answer: object) -> None:
        """Store the answer, cut to the limit."""
        content = answer if isinstance(answer, bytes) else b""
        self.status, self.answer, self.answer_size = status, content[:BODY_LIMIT], len(content)

    @property
    def shown_body(self) -> str:
        """The request's body as readable text, without secrets."""
        return self._shown(self.body, self.body_size)

    @property
    def shown_answer(self) -> str:
        """The answer as readable text, without secrets."""
        return self._shown(self.answer, self.answer_size)

    def _shown(self, content: bytes, size: int) -> str:
        if not content:
            return ""
        try:
            value = json.loads(content)
            if self.signs_in:
                value = _masked(value)
            text = json.dumps(value, indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            # What cannot be read cannot be masked either.
            text = "(not shown: it may hold a secret)" if self.signs_in else content.decode("utf-8", "replace")
        text = text.encode("utf-8", "replace").decode()  # JSON may hold halves of characters
        more = size - len(content)
        return f"{text}\n… and {more:,} bytes more" if more > 0 else text

    def curl(self, api_base: str) -> str:
        """A command that repeats the call; the token is a variable, and so is every secret."""
        words = ["curl", "-X", self.verb, shlex.quote(api_base + self.path)]
        if self.authorized:
            words += ["-H", '"Authorization: Bearer $GOTSURGE_BEARER_TOKEN"']
        if self.body:
            compact = self.shown_body
            if self.body_size == len(self.body):
                with suppress(ValueError):
                    compact = json.dumps(json.loads(compact), ensure_ascii=False)
            words += ["-H", "'Content-Type: application/json'", "--data-binary", shlex.quote(compact)]
        return " ".join(words)

    def described(self) -> dict[str, Any]:
        """The call as JSON, with its bodies as texts."""
        return {
            "number": self.number,
            "at": self.at,
            "operation": self.operation,
            "verb": self.verb,
            "path": self.path,
            "account": self.account,
            "status": self.status,
            "seconds": round(self.seconds, 4),
            "faults": list(self.faults),
            "acted_at": self.acted_at,
            "acted_status": self.acted_status,
            "body": self.shown_body,
            "answer": self.shown_answer,
        }


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _masked(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, name) for item in value]
    return MASK if name in SECRETS and value else value


State = Literal["delivered", "waiting", "lost", "given up"]


@frozen
class Try:
    """One request: its time, the answer's status (0: no answer), its seconds, and the answer's body."""

    at: float
    status: int
    seconds: float
    answer: str


@define(eq=False)
class Event:
    """One change of a task's status, and the tries to send it; ``next_at`` is the time of the next one."""

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
        """The fault of a kind that struck the event; None without one."""
        return next((fault for fault in self.faults if fault.kind == kind), None)

    def described(self) -> dict[str, Any]:
        """The event as JSON, without its body."""
        shown = asdict(self, filter=lambda attribute, _: attribute.name not in ("body", "faults"))
        return {**shown, "faults": [fault.kind for fault in self.faults]}


class Events(Log[Event]):
    """The events. An event that must still be sent is never removed."""

    def __init__(self, most: int = MOST_EVENTS) -> None:
        super().__init__("event", most)
        self._forgotten: Counter[str] = Counter()

    def _may_forget(self, entry: Event) -> bool:
        if entry.state == "waiting":
            return False
        self._forgotten[entry.state] += 1
        self._forgotten["sent"] += len(entry.tries)
        return True

    def described(self) -> list[dict[str, Any]]:
        """All stored events as JSON, the oldest first."""
        return [event.described() for event in self._by_number.values()]

    def count(self) -> dict[str, int]:
        """The numbers of events, of requests, and of events in each state."""
        states = Counter(event.state for event in self._by_number.values())
        sent = sum(len(event.tries) for event in self._by_number.values()) + self._forgotten["sent"]
        return {
            "events": self._added,
            "sent": sent,
            **{state.replace(" ", "_"): states[state] + self._forgotten[state] for state in get_args(State)},
        }
