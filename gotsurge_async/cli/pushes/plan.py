"""``gotsurge plan``: a look at a file before it is pushed."""

import json
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path

import click

from gotsurge_async.bulk import Run, Source, SourceOptions
from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.bulk.plan import Plan, Planner
from gotsurge_async.bulk.quotes import Quotes
from gotsurge_async.bulk.send.changes import Known
from gotsurge_async.cli.files.faults import Mending, takes_mending
from gotsurge_async.cli.shared.connect import Target, connected, takes_target
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.ledger import ending_of, find_ledger, known_to, ledger_option
from gotsurge_async.cli.shared.options import PATH, GroupedCommand, in_group, json_option
from gotsurge_async.cli.shared.output import print_json, print_record, print_table, prose, spare
from gotsurge_async.cli.shared.push_options import file_or_query, takes_source
from gotsurge_async.database import Place

SHOWN = 10

_plan = in_group("The plan")


@click.command(cls=GroupedCommand)
@click.argument("file", metavar="[FILE]", required=False)
@_plan("-o", "--output", type=PATH, metavar="PLAN.json", help="Write the plan to this file, for gotsurge push --plan.")
@_plan("--quote", is_flag=True, help="Ask the service for the price of each route; needs --env or --simulate.")
@takes_source
@takes_mending
@takes_target
@ledger_option
@json_option
@asynchronous
async def plan(
    file: str | None,
    output: Path | None,
    quote: bool,
    source: SourceOptions,
    mending: Mending,
    target: Target,
    ledger: Place | None,
    as_json: bool,
) -> Exit:
    """Check FILE as a push would, and say how many orders it has, what they cost, and which windows are too narrow.

    The plan holds the SHA-256 of the file: gotsurge push FILE --plan PLAN.json refuses any other.

    A window is too narrow where a pickup lasts less than 15 minutes, or where the way cannot be driven at 40 km/h
    between the start of the pickup and the end of the delivery. The way is 1.3 times the line through the air, and
    known only where both addresses have coordinates. A pickup that ends too soon is a warning.

    Orders that the ledger knows are counted, also those in doubt, and those that differ from what was sent are told
    with their fields.

    Nothing is sent, but for --quote: then each distinct route is priced once, and the recommended price stands beside
    the given ones.

    \b
    Exit codes:
      0 the file can be pushed         2 it has faults, or wrong usage, or a ledger that a push would refuse
      3 some of its orders are in doubt since an earlier push
      5 rows with faults were left out (--leave-faulty)
      7 some of its orders were pushed before, and differ now
    """
    name = file_or_query(file, source)
    if quote:
        target.check()

    async def known(run: Run) -> Known:
        return await known_to(find_ledger(ledger, target), run, target)

    async def look(opened: Source) -> Plan:
        async with connected(target) if quote else nullcontext() as gs:
            return await Planner(now=source.now, gs=gs, known=known).plan(opened)

    made = await mending.read(name, source, look)
    if output is not None:
        made.save(output)
    code = ending_of(in_doubt=made.in_doubt, left_out=made.left_out > 0, changed=made.changed_count)
    if as_json:
        print_json({**json.loads(made.to_json()), "exit": int(code)})
    else:
        _tell(made, output)
    return code


def _tell(made: Plan, output: Path | None) -> None:
    def counted(number: int) -> str | None:
        return f"{number:,}" if number else None

    rows = [
        ("file", made.file),
        ("orders", f"{made.orders:,}"),
        ("rows left out", counted(made.left_out)),
        ("spend", _amounts(made.spend)),
        ("already pushed", counted(made.already_pushed - made.in_doubt)),
        ("in doubt", counted(made.in_doubt)),
        ("without a price", counted(made.without_price)),
    ]
    if (quotes := made.quotes) is not None:
        priced = (
            f"{_amounts(quotes.total)} for {number_of(quotes.orders, 'order')} on {number_of(quotes.routes, 'route')}"
        )
        above = ", ".join(f"{currency} {_signed(amount)}" for currency, amount in quotes.difference.items())
        rows += [("recommended", priced), ("given above it", above), ("without a quote", "; ".join(quotes.reasons))]
    print_record([*rows, ("sha256", made.sha256)])
    if made.quotes is not None and made.quotes.compared:
        _tell_prices(made.quotes, output)
    tight = [f"{made.file}:{each.line}: {each.key}: {each.rule}" for each in made.tight]
    for lines, count, one, several in (
        (tight, made.tight_count, "window that is too narrow", "windows that are too narrow"),
        (made.similar, made.similar_count, "order that looks like another one", "orders that look like another one"),
        (made.warnings, made.warning_count, "other warning", "other warnings"),
        (
            *(list(map(str, made.changed)), made.changed_count),
            *("order that was pushed before, and differs now", "orders that were pushed before, and differ now"),
        ),
    ):
        if count:
            click.echo(f"{number_of(count, one, several)}:")
            for line in lines[:SHOWN]:
                click.echo(f"  {line}")
            if count > SHOWN:
                click.echo(f"  … and {count - SHOWN:,} more{': the plan lists them' if output else ''}")
    if output is not None:
        click.echo(f"gotsurge push with --plan {output} takes this file, and no other")


def _tell_prices(quotes: Quotes, output: Path | None) -> None:
    """The given prices beside the recommended ones, route by route; those first that differ most."""
    rows = [
        (
            f"{each.pickup} → {each.delivery}",
            each.vehicle,
            each.line,
            each.orders,
            f"{each.currency} {_cents(each.given)}" if each.priced else "no price",
            f"{each.currency} {_cents(each.recommended)}",
            _signed(each.difference) if each.priced else "",
        )
        for each in quotes.compared[:SHOWN]
    ]
    amounts = ("GIVEN", "RECOMMENDED EACH", "GIVEN ABOVE IT")
    print_table((prose("ROUTE"), "VEHICLE", spare("FIRST LINE"), "ORDERS", *amounts), rows)
    if quotes.routes > SHOWN:
        click.echo(
            f"… and {number_of(len(quotes.compared) - SHOWN, 'more route')}{': the plan lists them' if output else ''}"
        )


def _signed(amount: str) -> str:
    return _cents(amount) if amount.startswith("-") else f"+{_cents(amount)}"


def _cents(amount: str) -> str:
    """An amount without fractions of a cent; the plan has it as it is."""
    return f"{Decimal(amount):.2f}"


def _amounts(spend: dict[str, str]) -> str:
    return ", ".join(f"{currency} {amount}".strip() for currency, amount in spend.items()) or "nothing"
