"""Faults that can be ordered: their kind, operation and frequency, before or after the effect.

The fate of the n-th matching call depends only on n and on the fault's seed, so that a run with faults can be repeated.
Several faults are a script. Here the third call acts and its answer is lost; from the fourth call on the service is
down, until the faults are cleared::

    simulator.order_fault(Fault(when="after", kind="reset", after_calls=2, times=1))
    simulator.order_fault(Fault(kind="status", status=503, after_calls=3))

Webhooks have faults of their own, which strike events instead of calls::

    simulator.order_fault(Fault(operation="webhook", kind="lost", rate=0.05))

Time is a fault as well. This cancel is received, its connection is reset, and it takes effect five seconds later::

    simulator.order_fault(Fault(operation="tasks.cancel", when="late", kind="reset", seconds=5))
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from math import inf
from random import Random
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from attrs import define, field, fields_dict, frozen, validators

from gotsurge_async.simulator.replies import Reply

EVERY_OPERATION = "*"
WEBHOOK = "webhook"
"""The events that the simulator sends, in place of an operation."""

CREATES = frozenset(("tasks.create", "platform.tasks.create", "platform.drafts.create"))
_READS = frozenset(("tasks.get", "platform.tasks.get", "platform.tasks.list"))

Kind = Literal[
    "reset", "delay", "status", "garbage", "half", "silent", "hidden", "reused", "outdated", "restored",
    "lost", "doubled", "reordered", "early",
]  # fmt: skip
When = Literal["before", "after", "late"]


@frozen(kw_only=True)
class KindOfFault:
    """The effects of a kind of fault.

    Attributes:
        words: its name on the board.
        ends: whether the client does not get the answer.
        bends: whether the operation acts, or answers, in another way.
        operations: the only operations that suffer it; None for all.
    """

    words: str
    strikes_calls: bool = True
    strikes_events: bool = False
    ends: bool = False
    bends: bool = False
    operations: Collection[str] | None = None


KINDS: Mapping[Kind, KindOfFault] = MappingProxyType(
    {
        "reset": KindOfFault(words="connection reset", ends=True),
        "delay": KindOfFault(words="delay", strikes_events=True),
        "status": KindOfFault(words="answered with a status", ends=True),
        "garbage": KindOfFault(words="garbage, not HTTP", ends=True),
        "half": KindOfFault(words="half an answer", ends=True),
        "silent": KindOfFault(words="no answer", ends=True),
        "hidden": KindOfFault(words="new tasks hidden", bends=True, operations=CREATES),
        "reused": KindOfFault(words="ids of earlier orders", bends=True, operations=CREATES),
        "outdated": KindOfFault(words="older state read", bends=True, operations=_READS),
        "restored": KindOfFault(words="put back", bends=True),
        "lost": KindOfFault(words="never sent", strikes_calls=False, strikes_events=True),
        "doubled": KindOfFault(words="sent twice", strikes_calls=False, strikes_events=True),
        "reordered": KindOfFault(words="sent after the next", strikes_calls=False, strikes_events=True),
        "early": KindOfFault(words="sent before the answer", strikes_calls=False, strikes_events=True),
    }
)
"""Every kind of fault."""
CALL_KINDS = tuple(name for name, kind in KINDS.items() if kind.strikes_calls)
EVENT_KINDS = tuple(name for name, kind in KINDS.items() if kind.strikes_events)
BENDING_KINDS = tuple(name for name, kind in KINDS.items() if kind.bends)


def _strikes(kind: Kind, operation: str) -> bool:
    """Whether a kind of fault can strike an operation, all of them, or the webhook's events."""
    known = KINDS[kind]
    if operation == WEBHOOK:
        return known.strikes_events
    return known.strikes_calls and (
        known.operations is None or operation == EVERY_OPERATION or operation in known.operations
    )


def _fits(fault: "Fault", _: object, kind: str) -> None:
    allowed = [name for name in KINDS if _strikes(name, fault.operation)]
    if kind not in allowed:
        raise ValueError(f"a fault of {fault.operation!r} must be one of {', '.join(allowed)}, not {kind!r}")


@frozen(kw_only=True)
class Fault:
    """A fault that the simulator produces.

    ``operation`` is a name of the endpoint table or ``"*"``; calls of the operations in ``spares`` are left alone,
    and not counted. ``when`` says whether it strikes before the operation took effect or after. ``kind``: ``reset``
    ends the connection by a TCP RST; ``delay`` waits ``seconds`` (real ones) and continues; ``status`` answers
    ``status`` with ``headers``; ``garbage`` answers what is not HTTP; ``half`` sends half an answer and closes;
    ``silent`` answers nothing, and waits until the client closes the connection.
    It begins after ``after_calls`` matching calls, counted from when it was ordered. From there on it strikes one in
    ``every`` calls: with 3, the third, the sixth and so on. ``rate`` is the share of these calls that are struck, drawn
    from ``seed``; ``times`` ends the fault after that many strikes, None never does.

    With ``when="late"`` the client sees the same, and the operation takes effect ``seconds`` after the connection
    ended. It meets the state of that moment: a late cancel of an order that a driver has accepted is refused. A late
    ``delay`` is a slow service: the operation takes effect ``seconds`` after the call came, whether or not the client
    still waits, and a client that does is answered.

    Four kinds change what a call does, or what its answer shows, whatever ``when`` is. ``hidden``: Task Detail and Task
    List do not show the tasks of a create for ``seconds``. ``reused``: the answer of a create has the task ids of
    earlier orders. ``outdated``: a read shows tasks as they were ``seconds`` ago. ``restored``: before the call acts,
    all tasks are put back to what they were ``seconds`` ago, as by `Simulator.restore`.
    The seconds of these four and of ``late`` are those of the simulator's clock.

    With the operation ``"webhook"``, which ``"*"`` does not cover, it strikes events, and ``kind`` is one of others:
    ``lost`` (never sent), ``doubled`` (sent twice), ``reordered`` (kept back until the next event of its task was
    sent, or for ``seconds`` if there is none), ``delay`` (kept back for ``seconds``), ``early`` (an event of a call is
    sent, and its answer waited for, before the call is answered). These seconds are those of the simulator's clock.
    """

    operation: str = field(default=EVERY_OPERATION, validator=validators.instance_of(str))
    spares: tuple[str, ...] = field(default=(), converter=tuple)
    when: When = field(default="before", validator=validators.in_(("before", "after", "late")))
    kind: Kind = field(default="reset", validator=_fits)
    status: int = field(default=500, validator=[validators.ge(200), validators.le(599)])
    headers: Mapping[str, str] = field(factory=dict)
    seconds: float = field(default=1.0, validator=validators.ge(0))
    after_calls: int = field(default=0, validator=validators.ge(0))
    every: int = field(default=1, validator=validators.ge(1))
    rate: float = field(default=1.0, validator=[validators.ge(0), validators.le(1)])
    times: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    seed: int = 1

    @property
    def ends_the_call(self) -> bool:
        """Whether nothing more happens to a call that this struck, at least until its late effect."""
        return KINDS[self.kind].ends

    def is_about(self, operation: str) -> bool:
        """Whether a call of the operation is counted, and may be struck."""
        if WEBHOOK in (operation, self.operation):
            return operation == self.operation
        named = self.operation in (operation, EVERY_OPERATION) and operation not in self.spares
        return named and _strikes(self.kind, operation)


def fault_from_json(body: bytes) -> Fault:
    """The fault that a JSON body describes; raises ValueError when it describes none."""
    try:
        fault = msgspec.json.decode(body, type=Fault)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    # An attrs class cannot forbid unknown fields, as a Struct can.
    for name in msgspec.json.decode(body):
        if name not in fields_dict(Fault):
            raise ValueError(f"unknown field `{name}`")
    return fault


@define
class _Ordered:
    number: int
    fault: Fault
    random: Random
    met: int = 0
    struck: int = 0

    def strikes(self, when: When) -> bool:
        """Whether the fault ends or delays a call, at that time."""
        return self.fault.when == when and not KINDS[self.fault.kind].bends

    def meets(self, operation: str) -> bool:
        """Count a call to the operation; returns whether it is struck."""
        if not self.fault.is_about(operation):
            return False
        self.met += 1
        # Drawn even when the fault is used up: the n-th call's fate must not depend on anything but n.
        hit = self.random.random() < self.fault.rate
        used_up = self.fault.times is not None and self.struck >= self.fault.times
        begun = self.met - self.fault.after_calls
        return hit and begun > 0 and begun % self.fault.every == 0 and not used_up


@frozen
class Plan:
    """The faults that strike one call, in the order in which they were ordered; ``late`` delays its effect."""

    before: tuple[Fault, ...] = ()
    after: tuple[Fault, ...] = ()
    late: Fault | None = None
    bends: tuple[Fault, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The kind and time of each fault, as the log of calls shows them."""
        late = () if self.late is None else (self.late,)
        struck = tuple(f"{fault.kind} {fault.when}" for fault in (*self.before, *late, *self.after))
        return (*struck, *(fault.kind for fault in self.bends))

    def seconds(self, kind: str) -> float:
        """The most seconds of a kind that changes the call; 0 if none of that kind strikes it."""
        return max((fault.seconds for fault in self.bends if fault.kind == kind), default=0.0)

    def bends_by(self, kind: str) -> bool:
        """Whether a fault of the kind changes the call."""
        return any(fault.kind == kind for fault in self.bends)


_NOTHING = Plan()


class Faults:
    """The faults that are ordered at present."""

    def __init__(self, operations: Collection[str], changed: Callable[[], None] = lambda: None) -> None:
        self._operations = operations
        self._changed = changed
        self._ordered: list[_Ordered] = []
        self._made = 0

    def order(self, fault: Fault) -> None:
        """Let a fault strike from now on; raises ValueError if there is no such operation."""
        named = fault.spares if fault.operation in (EVERY_OPERATION, WEBHOOK) else (fault.operation, *fault.spares)
        for operation in named:
            if operation not in self._operations:
                known = ", ".join(sorted(self._operations))
                raise ValueError(f"there is no operation {operation!r}; the operations are: {known}")
        self._made += 1
        self._ordered.append(_Ordered(self._made, fault, Random(fault.seed)))  # noqa: S311 - repeatable, no secret
        self._changed()

    def remove(self, number: int) -> None:
        """End one fault; raises LookupError if no fault has the number."""
        left = [ordered for ordered in self._ordered if ordered.number != number]
        if len(left) == len(self._ordered):
            raise LookupError(f"there is no fault {number}")
        self._ordered = left
        self._changed()

    def described(self) -> list[dict[str, Any]]:
        """The faults as JSON, with the number of each and how often it struck, in the order in which they came."""
        return [
            {"number": ordered.number, "struck": ordered.struck, **msgspec.to_builtins(ordered.fault)}
            for ordered in self._ordered
        ]

    def clear(self) -> None:
        """End all faults."""
        self._ordered.clear()
        self._changed()

    def event(self) -> tuple[Fault, ...]:
        """Decide which faults strike the next event."""
        return self._strike([ordered for ordered in self._ordered if ordered.meets(WEBHOOK)])

    def plan(self, operation: str) -> Plan:
        """Decide which faults strike the next call to an operation."""
        if not self._ordered:
            return _NOTHING
        met = [ordered for ordered in self._ordered if ordered.meets(operation)]
        before = _until_the_end([ordered for ordered in met if ordered.strikes("before")])
        # A call that ends before its effect never gets to what was to strike at it, or after it.
        if any(ordered.fault.ends_the_call for ordered in before):
            return Plan(before=self._strike(before))
        late = [ordered for ordered in met if ordered.strikes("late")][:1]
        after = _until_the_end([ordered for ordered in met if ordered.strikes("after")])
        if late and late[0].fault.ends_the_call:
            after = []
        return Plan(
            before=self._strike(before),
            after=self._strike(after),
            late=self._strike(late)[0] if late else None,
            bends=self._strike([ordered for ordered in met if KINDS[ordered.fault.kind].bends]),
        )

    def _strike(self, met: list[_Ordered]) -> tuple[Fault, ...]:
        """The faults, each counted as having struck."""
        for ordered in met:
            ordered.struck += 1
        if met:
            self._changed()
        return tuple(ordered.fault for ordered in met)


def _until_the_end(met: list[_Ordered]) -> list[_Ordered]:
    """The faults up to the first one that ends the call."""
    ends = [ordered.fault.ends_the_call for ordered in met]
    return met[: ends.index(True) + 1] if True in ends else met


@define(eq=False)
class LateCall:
    """A call that has not taken effect yet. Times are seconds since the epoch, of the simulator's clock.

    ``acts_at`` is infinity while the call's connection stands, if its seconds count from the end of that.
    """

    operation: str
    task_id: str
    received_at: float
    acts_at: float = inf
    number: int = 0
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, repr=False)
    _reply: "asyncio.Future[Reply | None]" = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._reply = self._loop.create_future()

    async def reply(self) -> Reply | None:
        """Wait until the call has taken effect, and return its reply; None if it never will."""
        return await self._reply

    def end(self, reply: Reply | None) -> None:
        """Pass the reply to the connection that waits for it. May be called in any thread."""
        if not self._loop.is_closed():  # the clock may be turned after the simulator has stopped
            self._loop.call_soon_threadsafe(self._end, reply)

    def _end(self, reply: Reply | None) -> None:
        if not self._reply.done():
            self._reply.set_result(reply)


class LateCalls:
    """All calls that have not taken effect yet."""

    def __init__(self) -> None:
        self._by_number: dict[int, LateCall] = {}
        self._added = 0

    def add(self, call: LateCall) -> None:
        """Number a call and store it."""
        self._added += 1
        call.number = self._added
        self._by_number[call.number] = call

    def take(self, call: LateCall) -> bool:
        """Remove a call that must take effect now; returns whether it still may."""
        return self._by_number.pop(call.number, None) is call

    def clear(self) -> None:
        """Remove all calls, so that none takes effect; connections that wait are ended without an answer."""
        calls, self._by_number = list(self._by_number.values()), {}
        for call in calls:
            call.end(None)

    def described(self) -> list[dict[str, Any]]:
        """The calls as JSON, the next to take effect first."""
        return [
            {
                "number": call.number,
                "operation": call.operation,
                "task_id": call.task_id,
                "received_at": call.received_at,
                "acts_at": call.acts_at if call.acts_at < inf else None,
            }
            for call in sorted(self._by_number.values(), key=lambda call: call.acts_at)
        ]
