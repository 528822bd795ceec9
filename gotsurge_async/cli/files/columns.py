"""``gotsurge columns``: what a table of orders may hold."""

from collections.abc import Sequence
from itertools import groupby

import click
from msgspec import structs

from gotsurge_async.cli.shared.exits import WrongUse
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import is_terminal, print_json, print_record, print_table, prose
from gotsurge_async.models.rules import nearest
from gotsurge_async.tables.columns import ColumnInfo, all_columns
from gotsurge_async.tables.template import how_written


@click.command()
@click.argument("names", metavar="[COLUMN]...", nargs=-1)
@click.option("--required", is_flag=True, help="Show only what is required, always or under some condition.")
@json_option
def columns(names: tuple[str, ...], required: bool, as_json: bool) -> None:
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
    if as_json:
        print_json([structs.asdict(info) for info in infos])
    elif len(infos) == 1:
        print_record(_record(infos[0]))
    elif is_terminal():
        _print_sections(infos)
    else:
        rows = [[value for _, value in _record(info)] for info in infos]
        print_table([name for name, _ in _record(infos[0])], rows)


def _is_named(name: str, words: Sequence[str]) -> bool:
    parts = name.split(".")
    return not words or any(word == name or word in parts or name.startswith(f"{word}_") for word in words)


def _record(info: ColumnInfo) -> list[tuple[str, str]]:
    return [
        ("column", info.name),
        ("type", info.type),
        ("unit", info.unit),
        ("allowed", ", ".join(info.allowed)),
        ("required", info.required),
        ("example", info.example),
        ("section", info.section),
        ("meaning", info.meaning),
    ]


def _print_sections(infos: Sequence[ColumnInfo]) -> None:
    for section, columns in groupby(infos, key=lambda info: info.section):
        click.secho(f"\n{section}", bold=True)
        rows = [(info.name, info.required, f"{info.meaning} {_how(info)}") for info in columns]
        print_table(("column", "required", prose("what it says, and how it is written")), rows)


def _how(info: ColumnInfo) -> str:
    example = f", such as {info.example}" if info.example and not info.allowed else ""
    return f"({how_written(info)}{example})"
