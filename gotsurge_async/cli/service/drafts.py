"""``gotsurge drafts``: tasks that no driver sees until they are broadcast."""

from collections.abc import Sequence

import click

from gotsurge_async.cli.shared.connect import Target, call, takes_platform
from gotsurge_async.cli.shared.options import json_option, max_price_option, timezone_option
from gotsurge_async.cli.shared.outcomes import Results, Updates, pairs_of, read_orders, words_of
from gotsurge_async.client import GotSurge
from gotsurge_async.money import Money


@click.group()
def drafts() -> None:
    """Create drafts, and broadcast them to drivers (platform partners).

    The way to create tasks that can be repeated: a lost answer leaves drafts that nobody uses, and broadcasting acts
    only on what is still a draft.
    """


@drafts.command(short_help="Create drafts of 1 to 20 orders.")
@click.argument("file", metavar="FILE")
@takes_platform
@timezone_option
@max_price_option
@json_option
def create(target: Target, file: str, timezone: str | None, max_price: Money | None, as_json: bool) -> None:
    """Create drafts of the 1 to 20 orders of FILE; - reads standard input. No driver is asked.

    FILE is as for gotsurge tasks create. Broadcast the ids that are printed.
    """
    orders = read_orders(file, timezone=timezone, max_price=max_price)

    async def work(gs: GotSurge) -> Results:
        return await Results.of(gs.platform.drafts.create_all(orders))

    call(target, work).print(as_json=as_json)


@drafts.command()
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK_ID[=TRACKING_ID]...")
@takes_platform
@json_option
def broadcast(target: Target, task_ids: Sequence[str], as_json: bool) -> None:
    """Broadcast drafts: drivers are asked from now on. Repeating it does no harm.

    With TASK_ID=TRACKING_ID each draft gets its tracking id as it is broadcast. A single - reads a line for each task
    from standard input. Exit code 1: some were not broadcast.
    """
    words = words_of(task_ids)
    tracked = any("=" in word for word in words)
    pairs = pairs_of(words) if tracked else {}

    async def work(gs: GotSurge) -> Updates:
        drafts = gs.platform.drafts
        if tracked:
            return await Updates.of(drafts.broadcast_all_with_tracking(pairs))
        return await Updates.of(drafts.broadcast_all(words))

    call(target, work).print(as_json=as_json)
