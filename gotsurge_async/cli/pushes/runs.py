"""``gotsurge runs``: the runs of the ledger."""

from pathlib import Path

import click

from gotsurge_async.bulk.ledger import Word
from gotsurge_async.cli.pushes.status import RunStatus
from gotsurge_async.cli.shared.books import books_options, find_ledger, open_books, run_told
from gotsurge_async.cli.shared.output import json_option, print_json, print_table

_COLUMNS = (
    Word.CREATED,
    Word.ALREADY_PUSHED,
    Word.CHANGED,
    Word.REFUSED,
    Word.IN_DOUBT,
    Word.UNPROCESSED,
    Word.IN_FLIGHT,
    Word.CANCELLED,
)


@click.command()
@books_options
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="The newest so many.")
@json_option
def runs(ledger: Path | None, env: str | None, limit: int, as_json: bool) -> None:
    """List the runs of the ledger, the newest first."""

    async def read() -> list[RunStatus]:
        async with open_books(find_ledger(ledger, env), look=True) as books:
            wanted = [info for info in await books.runs() if env in (None, info.environment)]
            return [await RunStatus.of(books, info) for info in wanted[:limit]]

    found = run_told(read())
    if as_json:
        print_json([each.document() for each in found])
        return
    words = [word.replace("_", " ").upper() for word in _COLUMNS]
    columns = ("RUN", "STATE", "ENVIRONMENT", "MODE", "ORDERS", *words, "FROM")
    print_table(
        columns,
        (
            (
                each.info.id,
                each.state,
                each.info.environment,
                each.info.mode,
                each.counts.total,
                *(each.number(word) for word in _COLUMNS),
                each.info.source,
            )
            for each in found
        ),
    )
