"""``gotsurge inbox``: the events that arrived, their states, and the changes that are parked."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import attrs
import click
import msgspec

from gotsurge_async.cli.afterwards.books import Books, takes_books
from gotsurge_async.cli.shared.exits import Exit, WrongUse, asynchronous
from gotsurge_async.cli.shared.options import json_option, option
from gotsurge_async.cli.shared.output import Column, as_json, finish, print_json, print_list, print_record, prose, say
from gotsurge_async.errors import ConfigError, UsageError
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.event import EventState
from gotsurge_async.webhooks.inbox import Inbox, Stored

T = TypeVar("T")

MOST_PARKED = 1000
"""The most parked changes that are listed."""
_states = click.Choice([state.value for state in EventState])
_ids = click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
_all_of = option("--all", "Take all events in this state, instead of IDs.", name="state", type=_states)


@click.group()
def inbox() -> None:
    """Look after the inbox, where each event of GotSurge is kept as it came, and after parked changes.

    An event waits until its task was read. Then it is done, and is forgotten after a week. An event is dead when it
    cannot be understood, or when GotSurge refuses to show its task. It is kept for a month, so that you can look at it.

    A change of a task is parked when it could not be handed on for three days. The later changes of its task wait
    behind it, until resend hands it on again, or skip gives it up.
    """


@asynccontextmanager
async def _opened(half: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """The inbox or the order book, if it is there."""
    try:
        async with half as opened:
            yield opened
    except ConfigError as error:
        if error.explain_code == "E801":
            error.add_note("pass its path with --book; for real orders, pass --env sandbox or production")
        raise


def _open_inbox(books: Books) -> AbstractAsyncContextManager[Inbox]:
    return _opened(Inbox.open(books.book, keep=None, make=False))


def _open_book(books: Books) -> AbstractAsyncContextManager[Book]:
    return _opened(Book.open(books.book, make=False))


@inbox.command("list", short_help="List the newest events.")
@option("--state", "List only events in this state.", type=_states)
@option("--task TASK", "List only events of this task.", name="task_id", default="")
@option("--limit N", "List at most N events.", type=click.IntRange(1), default=100)
@takes_books
@json_option
@asynchronous
async def list_(state: str | None, task_id: str, limit: int, books: Books) -> None:
    """List the newest events, the newest first."""
    async with _open_inbox(books) as opened:
        events = await opened.newest(state, task_id=task_id, limit=limit)
        counts = await opened.counts()
    rows = [(event.id, event.received_at, event.state, event.task_id, event.times, event.why) for event in events]
    print_list(list(map(document_of, events)), ("ID", "RECEIVED", "STATE", "TASK", "TIMES", prose("WHY")), rows)
    if not as_json():
        say(", ".join(f"{number:,} {name}" for name, number in counts.items()))


@inbox.command(short_help="Show one event as it came.")
@click.argument("event_id", type=int, metavar="ID")
@option("--raw", "Print only its body, byte for byte.")
@takes_books
@json_option
@asynchronous
async def show(event_id: int, raw: bool, books: Books) -> None:
    """Show an event with its body."""
    async with _open_inbox(books) as opened:
        event = await opened.show(event_id)
    if event is None:
        raise UsageError(f"there is no event {event_id}", "E802")
    body = event.body or b""
    if raw:
        sys.stdout.buffer.write(body)
    elif as_json():
        print_json({**document_of(event), "body": body.decode("utf-8", "backslashreplace")})
    else:
        print_record([(name.replace("_", " "), value) for name, value in document_of(event).items()])
        click.echo()
        click.echo(_for_people(body))


@inbox.command(short_help="Have the tasks of events read again.")
@_ids
@_all_of
@takes_books
@json_option
@asynchronous
async def replay(ids: tuple[int, ...], state: str | None, books: Books) -> Exit:
    """Have a receiver read the tasks of events again, as if they had just come.

    \b
    Exit codes:
      0 all of them wait               1 some are no events, or there is none of that ID
    """
    return await _change(Inbox.replay, "replayed", ids, state, books)


@inbox.command(short_help="Forget events.")
@_ids
@_all_of
@takes_books
@json_option
@asynchronous
async def drop(ids: tuple[int, ...], state: str | None, books: Books) -> Exit:
    """Forget events. The sweep reads their tasks all the same.

    \b
    Exit codes:
      0 they are gone                  1 there is none of some ID
    """
    return await _change(Inbox.drop, "dropped", ids, state, books)


async def _change(
    change: Callable[[Inbox, list[int]], Awaitable[int]], done: str, ids: Iterable[int], state: str | None, books: Books
) -> Exit:
    """Change the events with these ids, or in this state, and print the number that were ``done``."""
    chosen = list(dict.fromkeys(ids))
    if bool(chosen) == (state is not None):
        raise WrongUse("name events by ID, or pass --all STATE; see them with gotsurge inbox list")
    async with _open_inbox(books) as opened:
        if state is not None:
            chosen = list(await opened.ids(state))
        number = await change(opened, chosen)
    return _print_done(done, number, len(chosen))


@inbox.command(short_help="List the changes that are parked.")
@takes_books
@json_option
@asynchronous
async def parked(books: Books) -> None:
    """List the changes that could not be handed on for three days, the oldest first; at most 1,000."""
    async with _open_book(books) as book:
        changes = await book.parked_changes(MOST_PARKED + 1)
    if len(changes) > MOST_PARKED:
        changes.pop()
        say(f"more than {MOST_PARKED:,} changes are parked: these are the oldest")
    fields = ("number", "account", "task_id", "status", "seen_at", "attempts", "failing_since", "why")
    documents = [{name: getattr(change, name) for name in fields} for change in changes]
    columns: list[str | Column] = [*(name.replace("_", " ").upper() for name in fields[:-1]), prose("WHY")]
    print_list(documents, columns, [list(document.values()) for document in documents])


@inbox.command(short_help="Hand changes on again.")
@click.argument("numbers", nargs=-1, type=int, metavar="[NUMBER]...")
@option("--parked", "Hand on again all changes that are parked.", name="all_parked")
@option("--from NUMBER", "Hand on again all changes from here on.", name="first", type=int)
@takes_books
@json_option
@asynchronous
async def resend(numbers: tuple[int, ...], all_parked: bool, first: int | None, books: Books) -> Exit:
    """Have a receiver hand changes on again: parked ones by their NUMBERs, all --parked, or all --from one on.

    The changes of one task come in order, also with those that are new meanwhile. They keep their webhook-id. All
    that --from names wait when the command ends, or none do if it was killed.

    \b
    Exit codes:
      0 all of them wait               1 no change of some NUMBER is parked
    """
    if [bool(numbers), all_parked, first is not None].count(True) != 1:
        raise WrongUse(
            "give the NUMBER of each change, or pass --parked or --from NUMBER; "
            "see parked changes with gotsurge inbox parked"
        )
    chosen = set(numbers)
    async with _open_book(books) as book:
        if chosen:
            done = sum([await book.resend(number) for number in chosen])
        else:
            done = await book.resend() if first is None else await book.resend_from(first)
    return _print_done("resent", done, len(chosen) or done)


@inbox.command(short_help="Give parked changes up.")
@click.argument("numbers", nargs=-1, type=int, required=True, metavar="NUMBER...")
@takes_books
@json_option
@asynchronous
async def skip(numbers: tuple[int, ...], books: Books) -> Exit:
    """Give parked changes up, by their NUMBERs, so that the later changes of their tasks are handed on.

    \b
    Exit codes:
      0 all of them are skipped        1 no change of some NUMBER is parked
    """
    chosen = set(numbers)
    async with _open_book(books) as book:
        done = sum([await book.skip(number) for number in chosen])
    return _print_done("skipped", done, len(chosen))


def _print_done(done: str, number: int, of: int) -> Exit:
    """Print how many of the requested changes were ``done``."""
    code = Exit.CREATED if number == of else Exit.REFUSED
    return finish({done: number, "of": of}, code, f"{number:,} of {of:,} {done}")


def document_of(stored: Stored) -> dict[str, Any]:
    """An event without its body, as plain values."""
    return attrs.asdict(stored, filter=lambda attribute, _: attribute.name != "body")


def _for_people(body: bytes) -> str:
    """A body as text: JSON with indents, and characters escaped that could harm a terminal."""
    try:
        text = msgspec.json.format(body, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = body.decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text)
