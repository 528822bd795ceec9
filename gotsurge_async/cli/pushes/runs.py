"""``gotsurge runs``: the runs of the ledger."""

import click

from gotsurge_async.bulk.ledger import Word
from gotsurge_async.cli.pushes.status import RunStatus
from gotsurge_async.cli.shared.exits import asynchronous
from gotsurge_async.cli.shared.ledger import env_option, find_ledger_of, ledger_option, open_ledger
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import print_json, print_table
from gotsurge_async.database import Place

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
@ledger_option
@env_option
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="The newest so many.")
@json_option
@asynchronous
async def runs(ledger: Place | None, env: str | None, limit: int, as_json: bool) -> None:
    """List the runs of the ledger, the newest first."""
    async with open_ledger(find_ledger_of(ledger, env), look=True) as opened:
        wanted = [info for info in await opened.runs() if env in (None, info.environment)]
        found = [await RunStatus.of(opened, info) for info in wanted[:limit]]
    if as_json:
        print_json([each.document() for each in found])
        return
    words = [word.replace("_", " ").upper() for word in _COLUMNS]
    rows = [
        (
            *(each.info.id, each.state, each.info.environment, each.info.mode, each.counts.total),
            *(each.number(word) for word in _COLUMNS),
            each.info.source,
        )
        for each in found
    ]
    print_table(("RUN", "STATE", "ENVIRONMENT", "MODE", "ORDERS", *words, "FROM"), rows)
