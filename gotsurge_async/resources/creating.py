"""One create of 1 to 20 orders, whose answer is a success only if it names one task for each order, and no other."""

from collections import Counter
from collections.abc import Sequence

import attrs

from gotsurge_async.api.endpoints import Endpoint
from gotsurge_async.calls.create import Identity, match_alone, sent_names
from gotsurge_async.calls.session import Session
from gotsurge_async.codec import Codec
from gotsurge_async.codec.given import OrderLike, check_limit, refuse_faulty
from gotsurge_async.codec.text import written_batch
from gotsurge_async.errors import OutcomeUnknown, UnreadableAnswer
from gotsurge_async.models.base import several
from gotsurge_async.models.tasks import CreatedTasks, Task
from gotsurge_async.money import Money
from gotsurge_async.resources.reading import check_chunk
from gotsurge_async.transports.base import Response

_SHOWN = 5


async def create(
    session: Session,
    endpoint: Endpoint[CreatedTasks],
    orders: Sequence[OrderLike],
    *,
    helper: str,
    validate: bool,
    max_price: Money | None,
) -> CreatedTasks:
    """`Tasks.create`, `PlatformTasks.create` and `Drafts.create`.

    Args:
        helper: the call that takes any number of orders, for the error that names it.

    Raises:
        OutcomeUnknown: as of every call; with ``done`` and ``rows`` where an answer came that does not fit the orders.
        TooManyInOneCall: more than 20, or none.
        InvalidData: a value that is not an order, or a faulty order.
        UsageError: see `check_limit`.
    """
    check_limit(validate, max_price)
    batch = several(orders, "orders")
    check_chunk(len(batch), "orders", helper)
    made, body = written_batch(batch)
    if validate:
        refuse_faulty(made, session.clock.now(), max_price)
    answers: list[_Matched] = []

    def read(codec: Codec, answer: Response) -> CreatedTasks:
        names = [sent_names(order) for order in made]
        matched = _Matched.of(names, codec.decode(answer.body, CreatedTasks), endpoint.name)
        if matched.faults:
            answers.append(matched)
            raise UnreadableAnswer(f"the answer does not fit the orders: {matched.message}")
        return matched.done

    try:
        return await session.call(endpoint, body=body, read=read)
    except OutcomeUnknown as error:
        if answers:
            error.done, error.rows = answers[-1].done, answers[-1].rows
        raise


@attrs.frozen
class _Matched:
    """The answer of a create beside its orders: the tasks that are certain, the orders in doubt, and the faults."""

    done: CreatedTasks
    rows: tuple[int, ...]
    faults: tuple[str, ...]

    @classmethod
    def of(cls, identities: Sequence[Identity], created: CreatedTasks, operation: str) -> "_Matched":
        if not created.tasks:
            raise UnreadableAnswer("the answer names no task")
        unread = created.extra.get("tasks") or ()
        tasks, doubts = match_alone(identities, created.tasks, operation, whole=not unread)
        done = tuple(task for task in tasks if task is not None)
        faults = _others(created.tasks, done)
        if unread:
            faults.append(f"tasks that cannot be read: {len(unread)}")
        faults += [f"orders[{row}]{_named(identities[row])}: {error.args[0]}" for row, error in doubts.items()]
        return cls(attrs.evolve(created, tasks=done), tuple(doubts), tuple(faults))

    @property
    def message(self) -> str:
        more = len(self.faults) - _SHOWN
        return "; ".join([*self.faults[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def _named(identity: Identity) -> str:
    name = identity[0] or identity[1]
    return f" ({name})" if name else ""


def _others(tasks: Sequence[Task], done: Sequence[Task]) -> list[str]:
    """What the answer names besides the tasks of its orders."""
    counts = Counter(task.id for task in tasks)
    known = {task.id for task in done}
    foreign = [task_id for task_id, count in counts.items() if task_id not in known and count == 1]
    faults = [f"the task {task_id} stands twice" for task_id, count in counts.items() if count > 1]
    if foreign:
        several = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
        faults.append(f"tasks that are matched with no order: {', '.join(foreign[:_SHOWN])}{several}")
    return faults
