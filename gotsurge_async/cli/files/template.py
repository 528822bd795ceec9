"""``gotsurge template``: an empty table to fill in."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import click

from gotsurge_async.cli.shared.exits import WrongUse, interruptible
from gotsurge_async.cli.shared.options import PATH, force_option
from gotsurge_async.cli.shared.output import say
from gotsurge_async.errors import ConfigError
from gotsurge_async.tables.checks.words import number_of, verb
from gotsurge_async.tables.columns import ITEMS, item_columns, order_columns
from gotsurge_async.tables.template import ORDERS_SHEET, write_csv, write_workbook
from gotsurge_async.tables.writing import WholeFile


@click.command()
@click.argument("file", type=PATH, metavar="[FILE]", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(("csv", "xlsx")),
    help="The format of the table.  [default: as the ending of FILE says, else csv]",
)
@click.option("--items", is_flag=True, help="Write the table of the items, not that of the orders.")
@click.option("--all", "all_", is_flag=True, help="Write every column, not only the usual ones.")
@click.option("--example", is_flag=True, help="Add a row of examples.")
@force_option
def template(file: Path | None, form: str | None, items: bool, all_: bool, example: bool, force: bool) -> None:
    """Write an empty table to fill in and push, to FILE or to standard output.

    A workbook (xlsx; extra excel) has drop-downs for what takes a few values, cells of text where a spreadsheet would
    change what is typed, and a sheet that explains every column; gotsurge columns explains those of a CSV.
    """
    form = form or (file.suffix.lower().removeprefix(".") if file is not None else "csv")
    if form not in ("csv", "xlsx"):
        raise WrongUse(f"{file}: its ending does not tell its format: say --format csv or --format xlsx", "E102")
    if file is None and form == "xlsx" and sys.stdout.isatty():
        raise WrongUse("a workbook is not for a terminal: name a file, such as orders.xlsx")
    columns = [column for column in (item_columns() if items else order_columns()) if all_ or column.usual]
    with interruptible(), ExitStack() as at_end:
        if file is not None and file.exists() and not force:
            raise ConfigError(f"{file} is there already: --force writes over it", "E110")
        try:
            whole = None if file is None else WholeFile(file, at_end)
            stream: IO[bytes] = sys.stdout.buffer if whole is None else whole.stream
            if form == "csv":
                write_csv(stream, columns, example=example)
            else:
                write_workbook(stream, columns, example=example, sheet=ITEMS if items else ORDERS_SHEET)
            if whole is not None:
                whole.put_in_place()
            else:
                stream.flush()
        except OSError as error:
            raise ConfigError(f"cannot write {file or 'the table'}: {error.strerror or error}", "E109") from None
    needed = [column.name for column in columns if column.required == "yes"]
    are = verb(len(needed), "is", "are")
    say(f"{number_of(len(columns), 'column')}, required {are} {', '.join(needed)}; gotsurge columns explains them")
