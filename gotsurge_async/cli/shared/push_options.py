"""The options of a push: for reading its file, for its speed, and for its limits."""

import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import click
from msgspec import structs

from gotsurge_async.after.lookup import RESCAN_AFTER
from gotsurge_async.cli.shared.connect import Target
from gotsurge_async.cli.shared.exits import WrongUse
from gotsurge_async.cli.shared.options import (
    PATH,
    SENDING,
    STOPPING,
    THE_FILE,
    Decorator,
    amount,
    gathered,
    in_group,
    max_price_option,
    option,
    timezone_option,
    together,
)
from gotsurge_async.models.times import show_times_in
from gotsurge_async.money import Money
from gotsurge_async.push.brakes import DOUBTS_IN_A_ROW, REFUSALS_IN_A_ROW, Brakes
from gotsurge_async.tables import FileMap, SourceOptions
from gotsurge_async.tables.fields import ITEM_KEY
from gotsurge_async.tables.options import FORMATS, Query

_file = in_group(THE_FILE)


def _source(sql: str | None, url: str | None, file_map: str | None = None, **parameters: Any) -> SourceOptions:
    is_typed = click.get_current_context().get_parameter_source("url") is click.core.ParameterSource.COMMANDLINE
    if (sql is not None and url is None) or (sql is None and is_typed):
        raise WrongUse("--sql (the query) needs --from (its database), and --from needs --sql")
    query = Query(sql=sql, url=url) if sql is not None and url is not None else None
    columns = FileMap() if file_map is None else load_named(file_map)
    options = SourceOptions(now=datetime.now(UTC), file_map=columns, query=query, **parameters)
    show_times_in(options.zone())
    return options


def load_named(name: str) -> FileMap:
    """Load a map by its file, or by the name under which it is stored."""
    from gotsurge_async.tables.maps.kept import find_map  # few pushes have a map

    return structs.replace(FileMap.load(find_map(name)), name=name)


def for_target(source: SourceOptions, target: Target) -> SourceOptions:
    """The same options; a simulator accepts orders of any date, as a rehearsal does."""
    return source if target.is_real else attrs.evolve(source, any_date=True)


def file_or_query(file: str | None, source: SourceOptions) -> str:
    """The name of the file or the query in messages."""
    if source.query is None:
        if file is None:
            raise WrongUse("Missing argument 'FILE'.", "E101")
        return file
    if file is not None:
        raise WrongUse("give a FILE, or --sql with --from, but not all three")
    return source.query.name


_table: Decorator[Any] = together(
    _file("--format", "The format of the file.  [default: as its ending says]", type=click.Choice(FORMATS)),
    _file("--delimiter D", "What stands between two cells of a CSV, such as ; or tab.  [default: a comma]"),
    _file("--encoding NAME", "The encoding of a text without a byte order mark.  [default: utf-8]"),
    _file(
        "--header-row N",
        "The number of the line that names the columns, if a title stands above it.",
        type=click.IntRange(1),
    ),
    _file("--sheet NAME", "The sheet of a workbook.  [default: the first that is visible]"),
    _file("--sql QUERY", "Read from a database instead of FILE: the query that gives the rows; needs --from."),
    _file(
        "--from URL", "The URL of the database that --sql asks (or GOTSURGE_FROM).", name="url", envvar="GOTSURGE_FROM"
    ),
    timezone_option,
)
takes_source: Decorator[Any] = gathered(
    "source",
    _source,
    _file("--items FILE", "The table of the items; each row names its order by tracking_id.", type=PATH),
    _file("--items-sheet NAME", "The sheet of the items, if --items is a workbook."),
    _file(
        "--map MAP",
        "How columns with other names are read: a file, or the name of a kept map (gotsurge map).",
        name="file_map",
    ),
    _table,
    _file(
        "--any-date", "Take times that are further than 400 days from now, too: for a real GotSurge they are faults."
    ),
    _file("--key COLUMN", "The column that tells orders apart: no key is sent twice.", default=ITEM_KEY),
    max_price_option,
)
"""The options for reading a file of orders; the command gets them as its argument ``source``."""

takes_table: Decorator[Any] = gathered("source", _source, _table)
"""The options of `takes_source` that apply to any table."""


def reading_words(parameters: Mapping[str, Any]) -> list[str]:
    """The words of these options on a command line, for reading the run's result files again."""
    words: list[str] = []
    for word, name in (
        ("--items", "items"),
        ("--map", "file_map"),
        ("--timezone", "timezone"),
        ("--delimiter", "delimiter"),
        ("--encoding", "encoding"),
        ("--items-sheet", "items_sheet"),
        ("--key", "key"),
        ("--max-price", "max_price"),
    ):
        value = parameters.get(name)
        if value is not None and (name, value) != ("key", ITEM_KEY):
            words += [word, f"{value.currency} {value.amount}".strip() if isinstance(value, Money) else str(value)]
    return [*words, "--any-date"] if parameters.get("any_date") else words


# --- how fast it is sent, and what stops it --------------------------------------------------------------------------

sending: Callable[..., Decorator[Any]] = in_group(SENDING)
concurrency: Callable[..., Decorator[Any]] = functools.partial(sending, "--concurrency N", type=click.IntRange(1, 1024))
rate: Callable[..., Decorator[Any]] = functools.partial(
    sending, "--rate PER_SECOND", type=click.FloatRange(min=0, min_open=True)
)


def refused_chunk(otherwise: str) -> Decorator[Any]:
    """``--on-refused-chunk``, with its default in words."""
    return sending(
        "--on-refused-chunk",
        "When a chunk is refused: hold all of its orders, or split it until the bad ones are alone.  "
        f"[default: {otherwise}]",
        type=click.Choice(("hold", "split")),
    )


takes_distributed: Decorator[Any] = together(
    sending(
        "--distributed",
        "Leave the sending to workers on any number of machines (gotsurge worker), and show how it goes on.",
    ),
    sending("--no-wait", "With --distributed: do not wait for the workers, but end when the orders are put up."),
)


def check_distributed(*, distributed: bool, no_wait: bool, **_: Any) -> None:
    """Refuse ``--no-wait`` without ``--distributed``."""
    if no_wait and not distributed:
        raise WrongUse("--no-wait works only with --distributed, where workers send the orders")


rescan_after: Callable[..., Decorator[Any]] = functools.partial(
    option, "--rescan-after SECONDS", type=click.FloatRange(min=0), default=RESCAN_AFTER
)


def _brakes(doubts_in_a_row: int, refusals_in_a_row: int, **parameters: Any) -> Brakes:
    return Brakes(doubts_in_a_row=doubts_in_a_row or None, refusals_in_a_row=refusals_in_a_row or None, **parameters)


stopping: Callable[..., Decorator[Any]] = functools.partial(in_group(STOPPING), type=click.IntRange(0))
_stops = (
    stopping("--max-errors N", "Stop when more than N orders are refused."),
    stopping("--max-in-doubt N", "Stop when more than N orders are in doubt."),
    stopping(
        "--max-spend",
        "Stop before the prices of new orders exceed this; --replace-changed does not count.",
        type=amount,
    ),
    stopping(
        "--stop-after-doubts N",
        "Stop when N calls in a row are in doubt; 0 for never.",
        name="doubts_in_a_row",
        default=DOUBTS_IN_A_ROW,
    ),
    stopping(
        "--stop-after-refusals N",
        "Stop when N calls in a row are refused; 0 for never.",
        name="refusals_in_a_row",
        default=REFUSALS_IN_A_ROW,
    ),
)
takes_brakes: Decorator[Any] = gathered("brakes", _brakes, *_stops)
"""The options that stop a sending before its end; the command gets them as its argument ``brakes``."""

takes_canary: Decorator[Any] = stopping(
    "--canary N",
    "Send N orders first, and read them back before the others are sent; 0 for none.  [default: 1 for orders of "
    "several calls, where the ledger, the account or the map is new to a real GotSurge]",
)
