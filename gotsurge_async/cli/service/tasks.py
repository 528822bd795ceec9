"""``gotsurge tasks``: create, read, change and cancel tasks."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, cast, get_origin

import click
import msgspec

from gotsurge_async import codec
from gotsurge_async.after.cancels import NotedCancels
from gotsurge_async.after.undo import Undo
from gotsurge_async.calls.create import Unprocessed, stops_all
from gotsurge_async.cli.pushes.undo import take_back
from gotsurge_async.cli.shared.connect import Target, call, takes_platform, takes_target
from gotsurge_async.cli.shared.exits import Exit, Failure, WrongUse
from gotsurge_async.cli.shared.ledger import find_ledger, ledger_option, new_ledger_option, refuse_run_elsewhere
from gotsurge_async.cli.shared.options import amount, json_option, option
from gotsurge_async.cli.shared.outcomes import Results, takes_orders
from gotsurge_async.cli.shared.output import (
    at_a_terminal,
    confirmed,
    is_terminal,
    print_list,
    print_one,
    say,
    shown,
    spare,
)
from gotsurge_async.client import GotSurge
from gotsurge_async.database import Place
from gotsurge_async.errors import CallError, Coded, NotSent, OutcomeUnknown, SignInNeeded, code_of
from gotsurge_async.ledger import Ledger, LedgerError, Mode, OtherServer, RunHeld, RunInfo
from gotsurge_async.ledger.sql.store import Backend
from gotsurge_async.models.answers import Task
from gotsurge_async.models.base import fields_of, is_model
from gotsurge_async.models.places import Address, Contact, TimeWindow
from gotsurge_async.models.tasks import Message, Order, TaskChanges
from gotsurge_async.models.words import in_words
from gotsurge_async.money import Money
from gotsurge_async.push.desk.desk import Desk
from gotsurge_async.push.desk.outcomes import Outcome
from gotsurge_async.resources.converging import cancel_task
from gotsurge_async.system import loops
from gotsurge_async.tables.cells import parse_int, parse_number

_NOTING = 5.0
"""Seconds that a cancel waits for a ledger that other processes write: a driver may be on the way."""

PAGE = 200
"""The number of tasks in one call of the list."""

_platform = option("--platform", "Act as a platform partner, for an organization of yours.")


@click.group()
def tasks() -> None:
    """Create, read, change and cancel tasks, as GotSurge calls orders.

    For more than 20 orders, and for files, there is gotsurge push.
    """


@tasks.command(short_help="Create and broadcast 1 to 20 orders, each once.")
@takes_target
@_platform
@takes_orders
@ledger_option
@new_ledger_option
@json_option
def create(target: Target, orders: Sequence[Order], platform: bool, ledger: Place | None, new_ledger: bool) -> Exit:
    """Create and broadcast the 1 to 20 orders of FILE, each once; - reads standard input.

    FILE is JSON in the API's own shape: one order, a list, or {"tasks": [...]}. In it, as in the API, an amount is a
    whole number of thousandths of a cent: 4850000 is 48.50. Drivers are asked immediately.

    Each order needs a tracking_id, by which the ledger of gotsurge push remembers it: typed again, the command sends
    nothing a second time. A tracking_id that was sent with another content is "changed", and nothing is sent.

    \b
    Exit codes:
      0 all created    2 wrong usage or input    4 sign-in failed                5 unprocessed: no connection
      1 refused        3 in doubt                7 changed: sent with another content before
    """
    mode = Mode.TWO_PHASE if platform else Mode.DIRECT
    place = find_ledger(ledger, target)

    async def work(gs: GotSurge) -> Results:
        desk = await Desk.open(
            gs, place, mode=mode, validate=False, new_ledger=new_ledger, register=not target.simulate
        )

        async def create_one(order: Order) -> Outcome:
            try:
                return await desk.create(order)
            except OtherServer as error:  # the other orders have their outcomes all the same
                return Unprocessed(order=order, error=NotSent(str(error), error.explain_code))

        async with desk:
            results = await asyncio.gather(*map(create_one, orders))
        unsent = (result.error for result in results if isinstance(result, Unprocessed))
        return Results(results, next(filter(stops_all, unsent), None))

    return call(target.for_platform() if platform else target, work).print()


@tasks.command()
@click.argument("task_id")
@takes_target
@_platform
@json_option
def get(target: Target, task_id: str, platform: bool) -> None:
    """Show a task."""

    async def work(gs: GotSurge) -> Task:
        return await (gs.platform.tasks.get(task_id) if platform else gs.tasks.get(task_id))

    _print_task(call(target.for_platform() if platform else target, work))


@tasks.command()
@click.argument("task_id")
@option("--reason TEXT", "The reason, which GotSurge and the drivers see.", required=True)
@option("--yes", "Do not ask first, as a terminal is asked.")
@takes_target
@ledger_option
@json_option
def cancel(target: Target, task_id: str, reason: str, yes: bool, ledger: Place | None) -> Exit | None:
    """Cancel a task that no driver has accepted yet.

    One that is cancelled already counts as done. Exit code 1: it is too late, and the message says where the task
    stands. If the ledger has an order with this task, the order is taken back as by gotsurge undo, and the ledger
    records it, unless a push or a desk has its run at the moment: then gotsurge audit --repair records it later. Of an
    archived order it records nothing: the key of the order stays taken.
    """
    if not yes and at_a_terminal() and not confirmed(f"Cancel task {task_id} ({target.environment})?"):
        raise Failure(Coded("nothing was cancelled", "E112"), Exit.USAGE)
    place, known, info, notes = find_ledger(ledger, target), None, None, False
    try:
        known, info = loops.run(_known_of(place, target, task_id))
        if known is not None:
            run_id, key = known
            say(f"task {task_id} is order {key} of run {run_id}")
            own = {"keys": (key,), "drafts": False, "reason": reason, "concurrency": None}
            return take_back(run_id=run_id, target=target, place=place, **own)
        if info is not None:
            refuse_run_elsewhere(info, target)
        notes = info is None or info.archived_in is None
    except OtherServer as error:  # a task that is at this one, too, is cancelled all the same
        info = None
        shows = "" if known is None else ", and will still show the order as created"
        say(f"the ledger cannot record this cancel{shows}: {error}")
    except (RunHeld, LedgerError) as error:
        say(f"the ledger cannot record this cancel now, and will still show the order as created: {error}")
        say(f"to record the cancel later, run: gotsurge audit --env {target.environment} --repair")

    async def work(gs: GotSurge) -> Message:
        if not notes or not await asyncio.to_thread(Backend(place).is_there):
            return await gs.tasks.cancel(task_id, reason=reason)
        if info is None:
            return await _cancel_unknown(gs, place, target.environment, task_id, reason)
        async with await Ledger.open(place) as opened:
            noted = NotedCancels(opened, info.environment, gs.limits.settle)
            message = await _cancel_noted(gs, noted, task_id, reason, is_draft=True)
        await _record_draft(gs, place, info.id, task_id)
        return message

    message = call(target, work)
    print_one(message, shown(message.message) or "cancelled")
    if info is not None and info.archived_in is not None:
        say(f"the archived run {info.id} has the order: the ledger cannot record the cancel, and the key stays taken")
        say("if the order must still be delivered, push it with another tracking id")
    return None


async def _cancel_unknown(gs: GotSurge, place: Place, environment: str, task_id: str, reason: str) -> Message:
    """Cancel a task that the ledger does not know, even if it cannot be noted: a driver may be on the way."""
    try:
        ledger = await asyncio.wait_for(Ledger.open(place), _NOTING)
    except (LedgerError, TimeoutError) as error:
        _say_unnoted(error)
        return await gs.tasks.cancel(task_id, reason=reason)
    notes = NotedCancels(ledger, environment, gs.limits.settle)
    try:
        return await _cancel_noted(gs, notes, task_id, reason)
    finally:
        if not notes.gave_up:  # else the writer gives up when the event loop ends
            await ledger.close()


async def _cancel_noted(
    gs: GotSurge, notes: NotedCancels, task_id: str, reason: str, *, is_draft: bool = False
) -> Message:
    """Cancel a task that no order has, and note it before each try: else an order could go on with it before that.

    One that no driver sees, a draft that is known, is not cancelled unless it is noted.
    """
    tries = 0

    async def note() -> None:
        nonlocal tries
        used: dict[str, str] = {}
        try:
            used = await notes.begin([task_id], within=None if is_draft and not tries else _NOTING)
        except (LedgerError, TimeoutError) as error:
            if is_draft and not tries:
                raise
            _say_unnoted(error)
        if task_id in used:
            raise _in_use(used[task_id], is_unknown=tries > 0)
        tries += 1

    try:
        return await cancel_task(gs.session, task_id, reason, note)
    except (CallError, SignInNeeded, Failure) as error:
        may_act = isinstance(error, OutcomeUnknown) or (isinstance(error, Failure) and tries > 0)
        if not may_act:
            await notes.forget(task_id, within=_NOTING)
        raise


def _say_unnoted(error: LedgerError | TimeoutError) -> None:
    why = error if str(error) else "other processes are writing to it"
    say(f"the ledger cannot note this cancel: {why}")


def _in_use(run_id: str, *, is_unknown: bool) -> Failure:
    """The error for a task that an order may have by now; ``is_unknown``: an earlier try may have cancelled it."""
    which = f"run {run_id} may be using this draft for an order now"
    if is_unknown:
        return Failure(Coded(f"it is unknown whether the task was cancelled: {which}", "E521"), Exit.IN_DOUBT)
    why = f"nothing was cancelled: {which}; run the command again when that run has ended"
    return Failure(Coded(why, "E521"), Exit.HELD)


async def _record_draft(gs: GotSurge, place: Place, run_id: str, task_id: str) -> None:
    try:
        async with await Ledger.open(place) as ledger:
            await Undo(gs, ledger).record_draft(run_id, task_id)
    except (CallError, SignInNeeded, RunHeld, LedgerError) as error:
        say(f"the cancel is not recorded, so run {run_id} still counts the draft: run the same command again ({error})")


async def _known_of(place: Place, target: Target, task_id: str) -> tuple[tuple[str, str] | None, RunInfo | None]:
    """The run and the key of the ledger's order with a task, else the run of its unused draft, or archived order."""
    if not await asyncio.to_thread(Backend(place).is_there):
        return None, None
    async with await Ledger.look(place) as ledger:
        known = await ledger.order_with(target.environment, task_id)
        return known, None if known else await ledger.draft_or_archived(target.environment, task_id)


@tasks.command("list")
@option(
    "--order",
    "By the time of creation: the oldest first (asc), or the newest (desc).",
    type=click.Choice(("asc", "desc")),
    default="asc",
)
@option("--limit N", "List at most N tasks.", type=click.IntRange(min=1))
@takes_platform
@json_option
def list_(target: Target, order: Literal["asc", "desc"], limit: int | None) -> None:
    """List the tasks of a platform partner and its organizations."""

    async def work(gs: GotSurge) -> list[Task]:
        tasks: list[Task] = []
        async for task in gs.platform.tasks.list(order=order, per_page=min(PAGE, limit or PAGE)):
            tasks.append(task)
            if len(tasks) == limit:
                break
        return tasks

    tasks = call(target, work)
    columns = ("id", "tracking_id", "status", spare("price", 3), spare("pickup"), spare("delivery", 2))
    rows = [
        (
            *(task.id, task.tracking_id, task.current_status, task.price),
            task.from_time_window and task.from_time_window.start_time_utc,
            task.to_time_window and task.to_time_window.start_time_utc,
        )
        for task in tasks
    ]
    print_list(tasks, columns, rows)


@tasks.command()
@click.argument("task_id")
@option("--set FIELD=VALUE", "A field, and its new value; may be given several times.", name="sets", multiple=True)
@option("--clear FIELD", "A field to empty; may be given several times.", name="clears", multiple=True)
@option("--version-rev REV", "The revision to change; without it the task is read first.")
@takes_platform
@json_option
def update(
    target: Target,
    task_id: str,
    sets: Sequence[str],
    clears: Sequence[str],
    version_rev: str | None,
) -> None:
    """Change fields of a task of a platform partner.

    \b
    Values are written as people write them:
      --set group_tag="MV Example"                    text
      --set price=48.50  or  --set price="SGD 48.50"  money, in units of the currency
      --set client_time_utc=2030-03-04T01:00:00Z      a time with its zone
      --set to_contact='{"name": "Ng"}'               an object, as JSON; it replaces the old one

    Only what is given is sent. With --version-rev nothing is changed if the task was changed since. Items,
    attachments, driver and proof of delivery cannot be changed.
    """
    changes = _changes_of(sets, clears)

    async def work(gs: GotSurge) -> Task:
        if version_rev is not None:
            return await gs.platform.tasks.update(task_id, version_rev=version_rev, **_in_currency(changes, None))
        task = await gs.platform.tasks.get(task_id)
        return await gs.platform.tasks.update(task, **_in_currency(changes, task.currency))

    _print_task(call(target, work))


def _print_task(task: Task) -> None:
    """Print a task."""
    name = in_words if is_terminal() else str
    print_one(
        task,
        [
            ("id", task.id),
            ("tracking_id", task.tracking_id),
            ("invoice_number", task.invoice_number),
            ("group_tag", task.group_tag),
            ("status", task.current_status),
            ("price", task.price),
            ("pickup", _place(task.from_address, task.from_time_window, task.from_contact)),
            ("delivery", _place(task.to_address, task.to_time_window, task.to_contact)),
            ("vehicle", task.vehicle_preference),
            ("service", task.service_type),
            ("broadcast to", task.broadcast_preference),
            ("driver", task.driver and _joined(task.driver.name, task.driver.phone, task.driver.vehicle_name)),
            ("distance", None if task.distance_in_meters is None else f"{task.distance_in_meters:,.0f} m"),
            ("organization", task.org_id),
            ("items", len(task.items) or None),
            ("history", ", ".join(f"{name(entry.status)} {shown(entry.updated_at)}" for entry in task.statuses)),
            ("revision", task.version_rev),
        ],
    )


def _place(address: Address | None, window: TimeWindow | None, contact: Contact | None) -> str:
    parts = []
    if address is not None:
        parts.append(_joined(address.building_name, address.street_address, address.city, address.zip_code))
    if window is not None:
        parts.append(f"{shown(window.start_time_utc)} to {shown(window.end_time_utc)}")
    if contact is not None:
        parts.append(_joined(contact.name, contact.phone, contact.vessel_name))
    return "; ".join(filter(None, parts))


def _joined(*parts: str | None) -> str:
    return ", ".join(filter(None, parts))


# --- the values of --set and --clear ----------------------------------------------------------------------------------

_HINT = "--set"
_FIELDS = {field.name: field for field in fields_of(Task)}


def _changes_of(sets: Sequence[str], clears: Sequence[str]) -> dict[str, Any]:
    """The fields and their new values, None for those to be emptied."""
    pairs = [text.partition("=") for text in sets]
    for name, equals, value in pairs:
        if not name or not equals:
            raise click.BadParameter(f"{name + equals + value!r} is not FIELD=VALUE", param_hint=_HINT)
    names = [*(name for name, _, _ in pairs), *clears]
    if twice := [name for name in names if names.count(name) > 1]:
        raise WrongUse(f"{twice[0]} is given twice", "E102")
    changes = {name: _value(name, value) for name, _, value in pairs} | dict.fromkeys(clears)
    if not changes:
        raise WrongUse("name what to change: --set FIELD=VALUE or --clear FIELD")
    return changes


def _in_currency(changes: dict[str, Any], currency: str | None) -> TaskChanges:
    """The same changes, with the task's currency for amounts without one."""
    values = {
        name: value.in_currency(currency) if isinstance(value, Money) and not value.currency and currency else value
        for name, value in changes.items()
    }
    return cast("TaskChanges", values)


def _value(name: str, text: str) -> Any:
    """The value of a field. The client refuses names of fields that an update does not have, with the reason."""
    if name not in TaskChanges.__annotations__:
        return text
    field = _FIELDS[name]
    kind: Any = field.inner
    try:
        if kind in _READERS:
            return _READERS[kind](text)
        if field.many:
            return tuple(codec.structure(value, kind) for value in msgspec.json.decode(text, type=list))
        if is_model(kind):
            return codec.structure(msgspec.json.decode(text, type=dict), kind)
        return msgspec.json.decode(text, type=dict) if get_origin(kind) is dict else text
    except (ValueError, msgspec.MsgspecError, click.BadParameter) as error:
        message = error.message if isinstance(error, click.BadParameter) else error
        shown = f"{text!r:.60}: " if kind in (int, float) else ""
        raise click.BadParameter(Coded(f"{name}: {shown}{message}", code_of(error)), param_hint=_HINT) from None


def _time(text: str) -> datetime:
    with suppress(ValueError):
        if (moment := datetime.fromisoformat(text)).tzinfo is not None:
            return moment
    raise ValueError(f"{text!r} is not a time with its zone, such as 2030-03-04T01:00:00Z")


_READERS: Mapping[type, Callable[[str], Any]] = {
    Money: amount,
    int: lambda text: parse_int(text.strip()),
    float: lambda text: parse_number(text.strip()),
    datetime: _time,
}
