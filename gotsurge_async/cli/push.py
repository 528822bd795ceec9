"""``gotsurge push``: a file of orders into GotSurge."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from gotsurge_async.bulk import Brakes, FileMap, SourceOptions
from gotsurge_async.cli.connect import Target, default_ledger, target_options
from gotsurge_async.cli.exits import told
from gotsurge_async.cli.push_job import PushJob, PushOptions
from gotsurge_async.config import Limits
from gotsurge_async.money import Money


class MoneyAmount(click.ParamType[Money]):
    """An amount such as ``1000`` or ``SGD 1,000.00``, without a currency it holds for every one."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Money:
        if isinstance(value, Money):
            return value
        words = str(value).replace(",", "").split()
        currency, amount = (words[0], words[1]) if len(words) == 2 else ("", words[0] if words else "")
        try:
            return Money.of(Decimal(amount), currency.upper())
        except (ArithmeticError, ValueError):
            self.fail(f"{value!r} is not an amount such as 1000 or SGD 1000.00", param, ctx)


@click.command(short_help="Push a file of orders.")
@click.argument("file", metavar="FILE")
@click.option(
    "--items", type=click.Path(path_type=Path), metavar="FILE", help="The items, a CSV joined by tracking_id."
)
@target_options
@click.option("--format", "format_", type=click.Choice(("csv", "jsonl")), help="Instead of the file's ending.")
@click.option("--map", "map_", type=click.Path(path_type=Path), metavar="MAP.toml", help="How to read other columns.")
@click.option("--delimiter", metavar="D", help="Between two cells of the CSV, such as ; or tab.")
@click.option("--timezone", metavar="TZ", help="Of times without one, such as Asia/Singapore.")
@click.option("--key", default="tracking_id", show_default=True, help="The column that tells orders apart.")
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
    "--max-price", type=MoneyAmount(), help="The greatest price that passes.  [default: 1000 of any currency]"
)
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
@click.option("--max-errors", type=click.IntRange(0), metavar="N", help="Stop when more are refused.")
@click.option("--max-in-doubt", type=click.IntRange(0), metavar="N", help="Stop when more are in doubt.")
@click.option("--max-spend", type=MoneyAmount(), help="Stop before the sum of the prices goes above.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON document.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
def push(
    file: str,
    items: Path | None,
    simulate: bool,
    env: str | None,
    api_base: str | None,
    account: str | None,
    accept_assumed_endpoints: bool,
    format_: str | None,
    map_: Path | None,
    delimiter: str | None,
    timezone: str | None,
    key: str,
    batch_size: int,
    concurrency: int,
    rate: float | None,
    ledger: Path | None,
    out: Path,
    dry_run: bool,
    max_price: Money | None,
    mode: str,
    on_refused_chunk: str | None,
    canary: int,
    max_errors: int | None,
    max_in_doubt: int | None,
    max_spend: Money | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Push FILE, a CSV or JSON Lines of orders, into GotSurge; - reads standard input.

    The whole file is checked before anything is sent. Every order is in a ledger before it is sent, so an order is
    never sent twice: not after a lost answer, not when the same file is pushed again. An order whose answer was lost
    is in doubt, and named.

    The ledger of simulated pushes is ledger.db in the --out folder. Real ones share one ledger in your data folder,
    unless --ledger or GOTSURGE_LEDGER names another.

    Result files in --out: RUN-success, RUN-failed, RUN-unprocessed, RUN-in-doubt and RUN-summary.json. All but the
    in-doubt file can be pushed again.

    Credentials come from GOTSURGE_CLIENT_KEY, GOTSURGE_SECRET_KEY, GOTSURGE_BEARER_TOKEN and GOTSURGE_REFRESH_TOKEN;
    a bearer token alone is enough.

    \b
    Exit codes:
      0 all created             4 sign-in failed
      1 some refused            5 stopped by a limit, the rest was not sent
      2 wrong usage or input    6 another process has the run
      3 some in doubt           130 interrupted (Ctrl-C once drains, twice aborts)
    """
    target = Target(
        simulate=simulate, env=env, api_base=api_base, account=account, accept_assumed=accept_assumed_endpoints
    )
    if not dry_run:
        target.check()
    with told():
        options = PushOptions(
            file=file,
            source=SourceOptions(
                now=datetime.now(UTC),
                format=format_,
                delimiter=delimiter,
                timezone=timezone,
                key=key,
                items=items,
                file_map=FileMap.load(map_) if map_ else FileMap(),
                max_price=max_price,
            ),
            target=target,
            limits=Limits(concurrency=concurrency, rate=rate),
            batch_size=batch_size,
            mode=mode,
            on_refused_chunk=on_refused_chunk,
            brakes=Brakes(canary=canary, max_errors=max_errors, max_in_doubt=max_in_doubt, max_spend=max_spend),
            ledger=ledger or default_ledger(target, out),
            out=out,
            as_json=as_json,
            quiet=quiet,
        )
        job = PushJob(options)
        code = asyncio.run(job.dry_run() if dry_run else job.run())
    raise SystemExit(int(code))
