"""First pushes to a real GotSurge: a map is accepted once, and the orders are shown before they are sent."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from msgspec import Struct

from gotsurge_async.cli.files.faults import Mending
from gotsurge_async.cli.shared.connect import Target
from gotsurge_async.cli.shared.ledger import accepted_maps, last_use
from gotsurge_async.cli.shared.output import counted, say
from gotsurge_async.ledger import Ledger, OrderState, Run, RunInfo
from gotsurge_async.push.changes import Known
from gotsurge_async.push.load import UnusableSource
from gotsurge_async.push.map_use import MapNotAccepted, MapUse, plain, watched
from gotsurge_async.push.plan import Plan, make_plan
from gotsurge_async.push.preview import Preview, Previewing
from gotsurge_async.tables import Source, SourceOptions
from gotsurge_async.tables.checks.words import number_of

_MOST = 10
"""The most earlier runs that are checked for a created order."""


class FirstTime(Struct, frozen=True):
    """The earlier runs of a ledger, the newest first. With ``accepted``, a map or columns that are new may be used."""

    earlier: Sequence[RunInfo]
    target: Target
    accepted: bool

    def check(self, use: MapUse) -> None:
        """Refuse a map that is new to a real GotSurge, unless a person has accepted it."""
        if self.accepted or not self.target.is_real or use.digest in accepted_maps(self.earlier):
            return
        last = last_use(self.earlier, use.name)
        changes = [] if last is None else use.unlike(last) or ["its rules or reading options have changed"]
        why = f"differs from the accepted one ({'; '.join(changes)})" if changes else "is new"
        how = "check what it reads (gotsurge push --dry-run), then push with --accept-map"
        raise MapNotAccepted(f"the map {plain(use.name)} {why}: {how}", "E243")

    def unlike(self, run: Run) -> list[str]:
        """The differences of a run's file from the last one that was pushed with its map."""
        use = MapUse.remembered(run.info.options) if self.target.is_real else None
        last = None if use is None else last_use(self.earlier, use.name)
        return [] if use is None or last is None else use.unlike(last)

    async def is_new(self, ledger: Ledger, run: Run) -> bool:
        """Whether no earlier run has created an order with the account, the map and the columns of this one."""
        if not self.target.is_real:
            return False
        use, place = MapUse.remembered(run.info.options), (self.target.environment, self.target.account)
        alike = (
            info
            for info in self.earlier
            if (info.environment, info.options.get("account")) == place and (use is None or use.is_of(info.options))
        )
        for info, _ in zip(alike, range(_MOST), strict=False):
            if (await ledger.counts(info.id))[OrderState.CREATED]:
                return False
        return True


async def preview_of(run: Run, options: SourceOptions, not_read: Sequence[str]) -> Preview:
    """The preview of a loaded run; `Preview` explains ``not_read``."""
    previewing = Previewing(options.zone())
    async for row in run.rows():
        previewing.add(row.payload)
    return previewing.done(not_read)


async def look(file: str, options: SourceOptions, mending: Mending, known: Callable[[Run], Awaitable[Known]]) -> Plan:
    """Read a file as a push would, and show on stderr the orders that it would send."""

    async def plan(source: Source) -> Plan:
        return await make_plan(watched(source, options), now=options.now, zone=options.zone(), known=known)

    made = None
    with suppress(UnusableSource), mending.look(file, options) as source:
        made = await plan(source)
    if made is None:  # it is read once more, for the report of its faults
        made = await mending.read(file, options, plan)
    for line in () if made.preview is None else made.preview.lines(options.zone()):
        say(line)
    numbers = {"already pushed": made.already_pushed - made.in_doubt, "in doubt": made.in_doubt}
    if made.already_pushed:
        say(f"{made.already_pushed:,} of {number_of(made.orders, 'order')} will not be sent again: {counted(numbers)}")
    if made.left_out:
        say(f"{number_of(made.left_out, 'row')} with faults left out")
    return made
