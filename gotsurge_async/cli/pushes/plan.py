"""``gotsurge plan``: checks a file before it is pushed."""

import json
from datetime import tzinfo
from pathlib import Path

import click

from gotsurge_async.cli.files.faults import Mending, takes_mending
from gotsurge_async.cli.shared.connect import Target, takes_target
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.ledger import ending_of, find_ledger, known_to, ledger_option
from gotsurge_async.cli.shared.options import PATH, GroupedCommand, in_group, json_option
from gotsurge_async.cli.shared.output import finish, print_record
from gotsurge_async.cli.shared.push_options import file_or_query, for_target, takes_source
from gotsurge_async.database import Place
from gotsurge_async.ledger import Run
from gotsurge_async.push.changes import Known
from gotsurge_async.push.map_use import watched
from gotsurge_async.push.plan import Plan, make_plan
from gotsurge_async.tables import Source, SourceOptions

_plan = in_group("The plan")


@click.command(cls=GroupedCommand)
@click.argument("file", metavar="[FILE]", required=False)
@_plan("-o, --output PLAN.json", "Write the plan to this file, for gotsurge push --plan.", type=PATH)
@takes_source
@takes_mending
@takes_target
@ledger_option
@json_option
@asynchronous
async def plan(
    file: str | None,
    output: Path | None,
    source: SourceOptions,
    mending: Mending,
    target: Target,
    ledger: Place | None,
) -> Exit:
    """Check FILE as a push would, and say how many orders it has, what they cost, and which windows are too narrow.

    The plan holds the SHA-256 of the file: gotsurge push FILE --plan PLAN.json refuses any other.

    A window is too narrow where a pickup lasts less than 15 minutes, or where the way cannot be driven at 40 km/h
    between the start of the pickup and the end of the delivery. The way is 1.3 times the line through the air, and
    known only where both addresses have coordinates. A pickup that ends too soon is a warning.

    Orders that the ledger knows are counted, also those in doubt, and those that differ from what was sent are
    listed with their fields. Nothing is sent.

    \b
    Exit codes:
      0 the file can be pushed         2 it has faults, or wrong usage, or a ledger that a push would refuse
      3 some of its orders are in doubt since an earlier push
      5 rows with faults were left out (--leave-faulty)
      7 some of its orders were pushed before, and differ now
    """
    name = file_or_query(file, source)
    source = for_target(source, target)

    async def known(run: Run) -> Known:
        return await known_to(find_ledger(ledger, target), run, target)

    async def check(opened: Source) -> Plan:
        return await make_plan(watched(opened, source), now=source.now, zone=source.zone(), known=known)

    made = await mending.read(name, source, check)
    if output is not None:
        made.save(output)
    code = ending_of(in_doubt=made.in_doubt, left_out=made.left_out > 0, changed=made.changed_count)
    return finish(json.loads(made.to_json()), code, lambda: _show(made, output, source.zone()))


def _show(made: Plan, output: Path | None, zone: tzinfo | None) -> None:
    for text in () if made.preview is None else made.preview.lines(zone):
        click.echo(text)
    print_record([("file", made.file), *made.facts().items(), ("sha256", made.sha256)])
    for line in made.findings(": the plan lists them" if output else ""):
        click.echo(line)
    if output is not None:
        click.echo(f"gotsurge push with --plan {output} takes this file, and no other")
