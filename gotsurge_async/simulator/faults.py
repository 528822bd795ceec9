"""Faults that can be ordered: what goes wrong, at which operation, how often, before or after the effect.

The fate of the n-th matching call depends on the fault's seed and on n alone, so that a run with faults can
be repeated. Several faults are a script. This one has the third call act and loses its answer; from the fourth call
on the service is down, until the faults are cleared::

    simulator.order_fault(Fault(when="after", kind="reset", after_calls=2, times=1))
    simulator.order_fault(Fault(kind="status", status=503, after_calls=3))

Webhooks have faults of their own, which strike events instead of calls::

    simulator.order_fault(Fault(operation="webhook", kind="lost", rate=0.05))

Time is a fault as well. This cancel is received, its connection is reset, and it takes effect five seconds later::

    simulator.order_fault(Fault(operation="tasks.cancel", when="late", kind="reset", seconds=5))
"""

from collections.abc import Collection, Mapping
from random import Random
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from attrs import define, field, fields_dict, frozen, validators

EVERY_OPERATION = "*"
WEBHOOK = "webhook"
"""Not an operation: the events that the simulator sends."""

CREATES = frozenset(("tasks.create", "platform.tasks.create", "platform.drafts.create"))
"""The operations that make tasks."""
READS = frozenset(("tasks.get", "platform.tasks.get", "platform.tasks.list"))
"""The operations that show tasks: Task Detail and Task List."""

ENDING_KINDS = ("reset", "status", "garbage", "half", "silent")
"""What becomes of an answer: none of these kinds lets the client have it."""
BENDING_KINDS: Mapping[str, Collection[str] | None] = MappingProxyType(
    {"hidden": CREATES, "reused": CREATES, "outdated": READS, "restored": None}
)
"""What makes an operation act or answer otherwise, with the operations that it may strike; None for all."""
CALL_KINDS = ("reset", "delay", "status", "garbage", "half", "silent", *BENDING_KINDS)
EVENT_KINDS = ("lost", "doubled", "reordered", "delay", "early")

Kind = Literal[
    "reset", "delay", "status", "garbage", "half", "silent", "hidden", "reused", "outdated", "restored",
    "lost", "doubled", "reordered", "early",
]  # fmt: skip
When = Literal["before", "after", "late"]


def _frozen_names(names: Collection[str]) -> tuple[str, ...]:
    return tuple(names)


def _fits(fault: "Fault", _: object, kind: str) -> None:
    allowed: Collection[str] = EVENT_KINDS
    if fault.operation != WEBHOOK:
        allowed = [name for name in CALL_KINDS if fault.operation == EVERY_OPERATION or _strikes(name, fault.operation)]
    if kind not in allowed:
        raise ValueError(f"a fault of {fault.operation!r} is one of {', '.join(allowed)}, not {kind!r}")


def _strikes(kind: str, operation: str) -> bool:
    operations = BENDING_KINDS.get(kind)
    return operations is None or operation in operations


@frozen(kw_only=True)
class Fault:
    """One thing that goes wrong.

    ``operation`` is a name of the endpoint table or ``"*"``; calls of the operations in ``spares`` are left alone,
    and not counted. ``when`` says whether it strikes before the operation took effect or after. ``kind``: ``reset``
    ends the connection by a TCP RST; ``delay`` waits ``seconds`` (real ones) and goes on; ``status`` answers
    ``status`` with ``headers``; ``garbage`` answers what is not HTTP; ``half`` sends half an answer and closes;
    ``silent`` answers nothing, and waits until the client closes the connection.
    It begins after ``after_calls`` matching calls, counted from when it was ordered. From there on it strikes one in
    ``every`` calls: with 3, the third, the sixth and so on. ``rate`` is the share of these calls that are struck, drawn
    from ``seed``; ``times`` ends the fault after so many strikes, None never does.

    With ``when="late"`` the client sees the same, and the operation takes effect ``seconds`` after the connection
    ended. It meets the state of that moment: a late cancel of an order that a driver has accepted is refused. A late
    ``delay`` is a slow service: the operation takes effect ``seconds`` after the call came, whether or not the client
    still waits, and a client that does is answered.

    Four kinds change what a call does, or what its answer shows; ``when`` means nothing to them. ``hidden``: Task
    Detail and Task List do not show the tasks of a create for ``seconds``. ``reused``: the answer of a create has
    the task ids of earlier orders. ``outdated``: a read shows tasks as they were ``seconds`` ago. ``restored``: before
    the call acts, all tasks are put back to what they were ``seconds`` ago, as by `Simulator.restore`.
    The seconds of these four and of ``late`` are those of the simulator's clock.

    With the operation ``"webhook"``, which ``"*"`` does not cover, it strikes events, and ``kind`` is one of others:
    ``lost`` (never sent), ``doubled`` (sent twice), ``reordered`` (kept back until the next event of its task was
    sent, or for ``seconds`` if there is none), ``delay`` (kept back for ``seconds``), ``early`` (an event of a call is
    sent, and its answer waited for, before the call is answered). These seconds are those of the simulator's clock.
    """

    operation: str = field(default=EVERY_OPERATION, validator=validators.instance_of(str))
    spares: tuple[str, ...] = field(default=(), converter=_frozen_names)
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
        return self.kind in ENDING_KINDS

    @property
    def bends_the_call(self) -> bool:
        """Whether the call acts or answers otherwise, and is not ended or delayed."""
        return self.kind in BENDING_KINDS

    def is_about(self, operation: str) -> bool:
        """Whether a call of the operation is counted, and may be struck."""
        if operation == WEBHOOK:
            return self.operation == WEBHOOK
        named = self.operation in (operation, EVERY_OPERATION) and operation not in self.spares
        return named and _strikes(self.kind, operation)


def fault_from_json(body: bytes) -> Fault:
    """The fault that a JSON body describes; raises ValueError when it describes none."""
    try:
        fault = msgspec.json.decode(body, type=Fault)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    # An attrs class cannot forbid what it does not know, as a Struct can.
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
        """Whether it ends or delays a call, at that time."""
        return self.fault.when == when and not self.fault.bends_the_call

    def meets(self, operation: str) -> bool:
        """Whether a call to the operation, the next in line, is struck."""
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
    """The faults that strike one call, in the order in which they were ordered; ``late`` puts its effect off."""

    before: tuple[Fault, ...] = ()
    after: tuple[Fault, ...] = ()
    late: Fault | None = None
    bends: tuple[Fault, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Kind and time of each, as the log of calls shows them."""
        late = () if self.late is None else (self.late,)
        struck = tuple(f"{fault.kind} {fault.when}" for fault in (*self.before, *late, *self.after))
        return (*struck, *(fault.kind for fault in self.bends))

    def seconds(self, kind: str) -> float:
        """The most seconds of a kind that bends the call; 0 if none of that kind strikes it."""
        return max((fault.seconds for fault in self.bends if fault.kind == kind), default=0.0)

    def bends_by(self, kind: str) -> bool:
        """Whether a fault of the kind bends the call."""
        return any(fault.kind == kind for fault in self.bends)


_NOTHING = Plan()


class Faults:
    """The faults that are ordered at present."""

    def __init__(self, operations: Collection[str]) -> None:
        self._operations = operations
        self._ordered: list[_Ordered] = []
        self._made = 0

    def order(self, fault: Fault) -> None:
        """Have a fault strike from now on; raises ValueError when there is no such operation."""
        named = fault.spares if fault.operation in (EVERY_OPERATION, WEBHOOK) else (fault.operation, *fault.spares)
        for operation in named:
            if operation not in self._operations:
                known = ", ".join(sorted(self._operations))
                raise ValueError(f"there is no operation {operation!r}; the operations are: {known}")
        self._made += 1
        self._ordered.append(_Ordered(self._made, fault, Random(fault.seed)))  # noqa: S311 - repeatable, no secret

    def remove(self, number: int) -> None:
        """Have one fault no more; raises LookupError when there is none of that number."""
        left = [ordered for ordered in self._ordered if ordered.number != number]
        if len(left) == len(self._ordered):
            raise LookupError(f"there is no fault {number}")
        self._ordered = left

    def told(self) -> list[dict[str, Any]]:
        """The faults as JSON, with the number of each and how often it struck, in the order in which they came."""
        return [
            {"number": ordered.number, "struck": ordered.struck, **msgspec.to_builtins(ordered.fault)}
            for ordered in self._ordered
        ]

    def clear(self) -> None:
        """Have no faults any more."""
        self._ordered.clear()

    def event(self) -> tuple[Fault, ...]:
        """Decide what strikes the next event."""
        if not self._ordered:
            return ()
        met = [ordered for ordered in self._ordered if ordered.meets(WEBHOOK)]
        for ordered in met:
            ordered.struck += 1
        return tuple(ordered.fault for ordered in met)

    def plan(self, operation: str) -> Plan:
        """Decide what strikes the next call to an operation."""
        if not self._ordered:
            return _NOTHING
        met = [ordered for ordered in self._ordered if ordered.meets(operation)]
        before = _until_the_end([ordered for ordered in met if ordered.strikes("before")])
        # A call that ends before its effect never gets to what was to strike at it, or after it.
        if any(ordered.fault.ends_the_call for ordered in before):
            late, after, bends = [], [], []
        else:
            late = [ordered for ordered in met if ordered.strikes("late")][:1]
            after = _until_the_end([ordered for ordered in met if ordered.strikes("after")])
            if late and late[0].fault.ends_the_call:
                after = []
            bends = [ordered for ordered in met if ordered.fault.bends_the_call]
        for ordered in (*before, *late, *after, *bends):
            ordered.struck += 1
        return Plan(
            before=tuple(ordered.fault for ordered in before),
            after=tuple(ordered.fault for ordered in after),
            late=late[0].fault if late else None,
            bends=tuple(ordered.fault for ordered in bends),
        )


def _until_the_end(met: list[_Ordered]) -> list[_Ordered]:
    ends = [ordered.fault.ends_the_call for ordered in met]
    return met[: ends.index(True) + 1] if True in ends else met
