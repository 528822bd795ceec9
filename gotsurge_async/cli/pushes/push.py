"""``gotsurge push``: a file of orders into GotSurge."""

import asyncio
from pathlib import Path

import attrs
import click

from gotsurge_async.bulk import Brakes, SourceOptions
from gotsurge_async.cli.shared.brake_options import brake_options
from gotsurge_async.cli.shared.connect import Target, default_ledger, target_options
from gotsurge_async.cli.shared.exits import told
from gotsurge_async.cli.shared.push_job import PushJob, PushOptions
from gotsurge_async.cli.shared.reading import reading_options, reading_words
from gotsurge_async.config import Limits


@click.command()
@click.argument("file", metavar="FILE")
@target_options
@reading_options
@click.option("--batch-size", type=click.IntRange(1, 20), default=20, show_default=True, help="Orders in a call.")
@click.option("--concurrency", type=click.IntRange(1, 1024), default=16, show_default=True, help="Calls in flight.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="PER_SECOND", help="Calls a second.")
@click.option("--ledger", type=click.Path(path_type=Path), metavar="PATH", help="The books; see below.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("gotsurge-results"),
    show_default=True,
    help="Folder of the result files.",
)
@click.option("--dry-run", is_flag=True, help="Read and check the file; send nothing, write nothing.")
@click.option(
    "--mode",
    type=click.Choice(("auto", "two-phase", "direct")),
    default="auto",
    show_default=True,
    help="two-phase (drafts, then their broadcast: exactly once) is for platform partners; direct is at most once; "
    "auto asks what the account may do.",
)
@click.option(
    "--on-refused-chunk",
    type=click.Choice(("hold", "split")),
    help="Hold all orders of a chunk that was refused, or split it until the bad ones are alone.  "
    "[default: hold in direct mode, split in two-phase]",
)
@click.option(
    "--canary", type=click.IntRange(0), default=0, metavar="N", help="Send N orders and read them back first."
)
@brake_options
@click.option(
    "--replace-changed",
    is_flag=True,
    help="Change the tasks of orders that were pushed before and differ now (platform partners).",
)
@click.option(
    "--plan",
    "plan_",
    type=click.Path(path_type=Path),
    metavar="PLAN.json",
    help="Refuse any file but the one that this plan was made of (gotsurge plan).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON document.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
def push(
    file: str,
    source: SourceOptions,
    simulate: bool,
    env: str | None,
    api_base: str | None,
    account: str | None,
    accept_assumed_endpoints: bool,
    batch_size: int,
    concurrency: int,
    rate: float | None,
    ledger: Path | None,
    out: Path,
    dry_run: bool,
    mode: str,
    on_refused_chunk: str | None,
    canary: int,
    brakes: Brakes,
    replace_changed: bool,
    plan_: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Push FILE, a CSV or JSON Lines of orders, into GotSurge; - reads standard input.

    The whole file is checked before anything is sent. Every order is in a ledger before it is sent, so an order is
    never sent twice: not after a lost answer, not when the same file is pushed again. An order whose answer was lost
    is in doubt, and named. An order that was pushed before and differs now is not sent: it is told with its fields.

    The ledger of simulated pushes is ledger.db in the --out folder. Real ones share one ledger in your data folder,
    unless --ledger or GOTSURGE_LEDGER names another.

    Result files in --out: RUN-success, RUN-failed, RUN-unprocessed, RUN-in-doubt and RUN-summary.json, and where there
    are such orders RUN-cancelled and RUN-changed. All but the in-doubt file can be pushed again. The folder is tried
    before anything is sent. With --json there is one document on standard output, however it ends, but for Ctrl-C
    while the command is still being loaded.

    Credentials come from GOTSURGE_CLIENT_KEY, GOTSURGE_SECRET_KEY, GOTSURGE_BEARER_TOKEN and GOTSURGE_REFRESH_TOKEN;
    a bearer token alone is enough.

    \b
    Exit codes:
      0 all created                    5 stopped by a limit, the rest was not sent
      1 some refused, or cancelled     6 another process has the run
      2 wrong usage or input           7 some rows were changed since they were sent
      3 some in doubt                  8 the service cannot be reached; nothing is in doubt
      4 sign-in failed                 9 sent, but no result files: gotsurge results RUN
      130, 143 interrupted by Ctrl-C, by SIGTERM (once drains, twice aborts)
    """
    target = Target(
        simulate=simulate, env=env, api_base=api_base, account=account, accept_assumed=accept_assumed_endpoints
    )
    if not dry_run:
        target.check()
    job: PushJob | None = None
    with told(lambda: None if job is None else job.run_id):
        options = PushOptions(
            file=file,
            source=source,
            plan=plan_,
            target=target,
            limits=Limits(concurrency=concurrency, rate=rate),
            batch_size=batch_size,
            mode=mode,
            on_refused_chunk=on_refused_chunk,
            brakes=attrs.evolve(brakes, canary=canary),
            replace_changed=replace_changed,
            ledger=ledger or default_ledger(target, out),
            out=out,
            reading=reading_words(click.get_current_context().params),
            as_json=as_json,
            quiet=quiet,
        )
        job = PushJob(options)
        code = asyncio.run(job.dry_run() if dry_run else job.run())
    raise SystemExit(int(code))
