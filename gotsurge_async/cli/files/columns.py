"""``gotsurge columns`` and ``gotsurge template``: the columns of a table of orders, and an empty one to fill in."""

import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import click
from msgspec import structs

from gotsurge_async.cli.shared.exits import WrongUse
from gotsurge_async.cli.shared.options import PATH, force_option, json_option, option
from gotsurge_async.cli.shared.output import (
    as_json,
    is_terminal,
    output_to,
    print_list,
    print_record,
    print_table,
    prose,
    say,
)
from gotsurge_async.models.rules import nearest
from gotsurge_async.tables.checks.words import number_of, verb
from gotsurge_async.tables.columns import ITEMS, ColumnInfo, all_columns, item_columns, order_columns
from gotsurge_async.tables.template import ORDERS_SHEET, how_written, write_csv, write_workbook


@click.command()
@click.argument("names", metavar="[COLUMN]...", nargs=-1)
@option("--required", "Show only what is required, always or under some condition.")
@json_option
def columns(names: tuple[str, ...], required: bool) -> None:
    """Show every column that a table of orders may have, and those of an items file (section Items).

    COLUMN is a name, or the start or end of one, such as to_contact or phone. Required says yes, no, or when: of an
    address one of its columns marked so must be given; of a delivery window both ends or neither. Sections are parts of
    an order; all stand in the sections "Create & Broadcast Tasks" and "Update Task" of GotSurge's document. A table
    with other names is read through a map (--map).
    """
    infos = [info for info in all_columns() if _is_named(info.name, names) and (not required or info.required != "no")]
    if not infos:
        near = nearest(names[0], [info.name for info in all_columns()]) if names else None
        raise WrongUse(f"there is no column {' or '.join(names)}{f': did you mean {near}?' if near else ''}", "E102")
    if not as_json() and len(infos) == 1:
        print_record(_record(infos[0]))
    elif not as_json() and is_terminal():
        _print_sections(infos)
    else:
        titles = [name for name, _ in _record(infos[0])]
        print_list(list(map(structs.asdict, infos)), titles, [[value for _, value in _record(info)] for info in infos])


def _is_named(name: str, words: Sequence[str]) -> bool:
    parts = name.split(".")
    return not words or any(word == name or word in parts or name.startswith(f"{word}_") for word in words)


def _record(info: ColumnInfo) -> list[tuple[str, str]]:
    record = structs.asdict(info) | {"allowed": ", ".join(info.allowed)}
    names = ("type", "unit", "allowed", "required", "example", "section", "meaning")
    return [("column", info.name), *((name, record[name]) for name in names)]


def _print_sections(infos: Sequence[ColumnInfo]) -> None:
    for section, members in groupby(infos, key=lambda info: info.section):
        click.secho(f"\n{section}", bold=True)
        rows = [(info.name, info.required, f"{info.meaning} {_how(info)}") for info in members]
        print_table(("column", "required", prose("what it says, and how it is written")), rows)


def _how(info: ColumnInfo) -> str:
    example = f", such as {info.example}" if info.example and not info.allowed else ""
    return f"({how_written(info)}{example})"


@click.command()
@click.argument("file", type=PATH, metavar="[FILE]", required=False)
@option(
    "--format",
    "The format of the table.  [default: as the ending of FILE says, else csv]",
    name="form",
    type=click.Choice(("csv", "xlsx")),
)
@option("--items", "Write the table of the items, not that of the orders.")
@option("--all", "Write every column, not only the usual ones.", name="all_")
@option("--example", "Add a row of examples.")
@force_option
def template(file: Path | None, form: str | None, items: bool, all_: bool, example: bool, force: bool) -> None:
    """Write an empty table to fill in and push, to FILE or to standard output.

    A workbook (xlsx; extra excel) has drop-downs for what takes a few values, cells of text where a spreadsheet would
    change what is typed, and a sheet that explains every column; gotsurge columns explains those of a CSV.
    """
    form = form or (file.suffix.lower().removeprefix(".") if file is not None else "csv")
    if form not in ("csv", "xlsx"):
        raise WrongUse(
            f"{file}: the file's extension does not show its format: pass --format csv or --format xlsx", "E102"
        )
    if file is None and form == "xlsx" and sys.stdout.isatty():
        raise WrongUse("a workbook cannot be printed to a terminal: name a file, such as orders.xlsx")
    chosen = [column for column in (item_columns() if items else order_columns()) if all_ or column.usual]
    with output_to(file, force=force) as stream:
        if form == "csv":
            write_csv(stream, chosen, example=example)
        else:
            write_workbook(stream, chosen, example=example, sheet=ITEMS if items else ORDERS_SHEET)
    needed = [column.name for column in chosen if column.required == "yes"]
    are = verb(len(needed), "is", "are")
    columns = number_of(len(chosen), "column")
    say(f"{columns}, of which {', '.join(needed)} {are} required; see what each column means: gotsurge columns")
