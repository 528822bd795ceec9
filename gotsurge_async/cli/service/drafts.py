"""``gotsurge drafts``: tasks that no driver sees until they are broadcast."""

from collections.abc import Sequence
from typing import Any

import click

from gotsurge_async.cli.service.tasks import max_price_option, timezone_option
from gotsurge_async.cli.shared.calls import call, for_platform, takes_target
from gotsurge_async.cli.shared.connect import Target
from gotsurge_async.cli.shared.orders import Outcome, read_orders
from gotsurge_async.cli.shared.output import json_option
from gotsurge_async.cli.shared.updates import Updates, pairs_of, words_of
from gotsurge_async.client import GotSurge
from gotsurge_async.money import Money


@click.group()
def drafts() -> None:
    """Create drafts, and broadcast them to drivers (platform partners).

    The way to create tasks that can be repeated: a lost answer leaves drafts that nobody uses, and broadcasting acts
    only on what is still a draft.
    """


@drafts.command()
@click.argument("file", metavar="FILE")
@takes_target
@timezone_option
@max_price_option
@json_option
def create(target: Target, file: str, timezone: str | None, max_price: Money | None, as_json: bool) -> None:
    """Create drafts of the 1 to 20 orders of FILE; - reads standard input. No driver is asked.

    FILE is as for gotsurge tasks create. Broadcast the ids that are printed.
    """
    orders = read_orders(file, timezone=timezone, max_price=max_price)

    async def work(gs: GotSurge) -> Outcome:
        return await Outcome.of(gs.platform.drafts.create_all(orders))

    outcome = call(for_platform(target), work)
    outcome.tell(as_json=as_json)
    raise SystemExit(int(outcome.exit_code))


@drafts.command()
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK_ID[=TRACKING_ID]...")
@takes_target
@json_option
def broadcast(target: Target, task_ids: Sequence[str], as_json: bool) -> None:
    """Broadcast drafts: drivers are asked from now on. Repeating it does no harm.

    With TASK_ID=TRACKING_ID each draft gets its tracking id as it is broadcast. A single - reads a line for each task
    from standard input. Exit code 1: some were not broadcast.
    """
    words = words_of(task_ids)
    tracked = any("=" in word for word in words)
    pairs = pairs_of(words) if tracked else {}

    async def work(gs: GotSurge) -> Updates[Any]:
        drafts = gs.platform.drafts
        if tracked:
            return await Updates.of(drafts.broadcast_all_with_tracking(pairs))
        return await Updates.of(drafts.broadcast_all(words))

    updates = call(for_platform(target), work)
    updates.tell(as_json=as_json)
    raise SystemExit(int(updates.exit_code))
