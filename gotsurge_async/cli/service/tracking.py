"""``gotsurge tracking``: the tracking ids of tasks."""

from collections.abc import Sequence

import click

from gotsurge_async.cli.shared.connect import Target, call, takes_platform
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.outcomes import Updates, pairs_of, words_of
from gotsurge_async.client import GotSurge


@click.group()
def tracking() -> None:
    """Change the tracking ids of tasks (platform partners)."""


@tracking.command()
@click.argument("pairs", nargs=-1, required=True, metavar="TASK_ID=TRACKING_ID...")
@takes_platform
@json_option
def patch(target: Target, pairs: Sequence[str], as_json: bool) -> None:
    """Give tasks other tracking ids. Repeating it does no harm.

    A single - reads a line for each task from standard input. Exit code 1: some were not changed.
    """
    wanted = pairs_of(words_of(pairs))

    async def work(gs: GotSurge) -> Updates:
        return await Updates.of(gs.platform.tasks.patch_all_tracking_ids(wanted))

    call(target, work).print(as_json=as_json)
