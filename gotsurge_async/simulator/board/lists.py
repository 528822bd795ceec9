"""The orders on the board: how many there are in each status, and those that are wanted, as a table or in columns."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from gotsurge_async.simulator.board.markup import Html, fill, joined, safe, short
from gotsurge_async.simulator.board.orders import GROUPS, STAGE_OF, STAGES, Due, Line, Survey, Wanted, local, moment
from gotsurge_async.simulator.state.tasks import TaskRecord

PAGE_SIZE = 100
"""So many rows a page: what a browser holds must not grow with what the simulator does."""
CARDS = 15
"""So many cards of each status."""
BEFORE, AHEAD = 8 * 3600.0, 10 * 3600.0
"""The axis shows so many seconds before the present, and after it."""

HEADS = (("order", "Order"), ("status", "Status"), ("vessel", "Vessel"))


def wanted_from(query: Mapping[str, str]) -> Wanted:
    """Which orders an address asks for; what makes no sense in it is left out."""
    statuses = frozenset(status for status in query.get("status", "").split(",") if status in STAGE_OF)
    kind, sort, view, page = (query.get(name, "") for name in ("kind", "sort", "view", "page"))
    return Wanted(
        statuses=statuses,
        kind=kind if kind in ("late", "soon") else "",
        text=query.get("q", "")[:200],
        sort=sort if sort in ("due", "order", "status", "vessel") else "due",
        view=view if view in ("table", "columns") else "table",
        page=max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
    )


def strip(survey: Survey, wanted: Wanted) -> Html:
    """All statuses with their counts."""
    return joined(
        fill(
            "strip-stage",
            stage=stage,
            heading=heading,
            statuses=joined(
                fill(
                    "strip-status",
                    status=status,
                    stage=stage,
                    pressed=_bool(status in wanted.statuses),
                    zero="" if survey.by_status[status] else " zero",
                    count=f"{survey.by_status[status]:,}",
                    broken=broken(status),
                )
                for status in statuses
            ),
        )
        for stage, heading, statuses in STAGES
    )


def flags(survey: Survey, wanted: Wanted) -> Html:
    """How many orders are late or about to expire, and how many are shown."""
    late, soon, count = survey.by_kind["late"], survey.by_kind["soon"], len(survey.lines)
    return fill(
        "flags",
        late=f"{late:,}",
        soon=f"{soon:,}",
        late_pressed=_bool(wanted.kind == "late"),
        soon_pressed=_bool(wanted.kind == "soon"),
        late_off=_off(not late and wanted.kind != "late"),
        soon_off=_off(not soon and wanted.kind != "soon"),
        clear_off=Html("" if wanted.narrows else " hidden"),
        shown=f"{len(survey.find(wanted)):,} of {count:,}" if wanted.narrows else f"{count:,} orders",
    )


def orders(survey: Survey, wanted: Wanted) -> Html:
    """The orders that are wanted."""
    found = survey.find(wanted)
    if not survey.lines:
        text = "Send one with the SDK or `gotsurge push`, or look at a day of invented ones."
        return fill("nothing", title="No orders yet", text=text, action=fill("seed-button"))
    if not found:
        return fill("nothing", title="No order matches", text="None has that status, mark or text.", action="")
    return _columns(survey, found) if wanted.view == "columns" else _table(survey, wanted, found)


def _table(survey: Survey, wanted: Wanted, found: Sequence[Line]) -> Html:
    pages = (len(found) - 1) // PAGE_SIZE + 1
    page = min(wanted.page, pages)
    first = (page - 1) * PAGE_SIZE
    shown = found[first : first + PAGE_SIZE]
    groups: list[tuple[str, str, Sequence[Line], int]] = [("all", "Orders", shown, len(found))]
    if wanted.sort == "due":
        groups = [
            (
                kinds[0],
                heading,
                [line for line in shown if line.due.kind in kinds],
                sum(line.due.kind in kinds for line in found),
            )
            for heading, kinds in GROUPS
        ]
    pager = fill(
        "pager",
        before=page - 1,
        after=page + 1,
        before_off=_off(page == 1),
        after_off=_off(page == pages),
        first=f"{first + 1:,}",
        last=f"{first + len(shown):,}",
        count=f"{len(found):,}",
    )
    return fill(
        "table",
        head=joined(_head(name, label, wanted) for name, label in HEADS),
        due_head=_head("due", "Due", wanted),
        ticks=_ticks(survey.now),
        hours=_hour_names(survey.now),
        groups=joined(
            fill(
                "group",
                key=key,
                heading=heading,
                count=f"{count:,}",
                rows=joined(_row(line, survey.now) for line in lines),
            )
            for key, heading, lines, count in groups
            if lines
        ),
        pager=pager if pages > 1 else "",
    )


def _head(name: str, label: str, wanted: Wanted) -> Html:
    on = wanted.sort == name
    return fill("head", name=name, label=label, sorted="ascending" if on else "none", arrow=" ↑" if on else "")


def _row(line: Line, now: float) -> Html:
    record, facts = line.record, line.facts
    return fill(
        "row",
        kind=line.due.kind,
        id=record.id,
        name=name_of(record),
        status=status(record.status),
        vessel=short(facts.vessel),
        imo=facts.imo,
        to=short(facts.deliver_to),
        axis=_axis(line, now),
        due=due(line.due),
    )


def _axis(line: Line, now: float) -> Html:
    """Both windows on an axis around the present."""
    facts = line.facts
    pickup, delivery = facts.pickup, facts.delivery
    words = f"pickup {moment(pickup[0], now)} to {moment(pickup[1], now)}"
    bars = _bar("w1", pickup, now, -4, 8)
    link = Html("")
    if delivery is not None:
        words += f", delivery {moment(delivery[0], now)} to {moment(delivery[1], now)}"
        bars = joined((bars, _bar("w2", delivery, now, -5, 10)))
        left, right = _x(pickup[1], now), _x(delivery[0], now)
        if left != right:
            link = Html(f'<line class="link" x1="{left}" x2="{right}" y1="50%" y2="50%"/>')
    return fill("axis", stage=STAGE_OF[line.record.status], words=words, link=link, bars=bars)


def _bar(name: str, window: tuple[float, float], now: float, y: int, height: int) -> Html:
    left, right = (min(max((edge - now + BEFORE) / (BEFORE + AHEAD), 0.0), 1.0) for edge in window)
    if left == right and (left in (0.0, 1.0)):
        return Html("")
    width = max(right - left, 0.008)
    return Html(f'<rect class="{name}" x="{left:.1%}" y="{y}" width="{width:.1%}" height="{height}" rx="2"/>')


def _x(at: float, now: float) -> str:
    return f"{min(max((at - now + BEFORE) / (BEFORE + AHEAD), 0.0), 1.0):.1%}"


def _hours(now: float) -> Iterator[tuple[str, str]]:
    """Every third hour on the axis: its place, and its name."""
    # Singapore is eight hours ahead, so its hours begin with those of UTC, and its thirds one hour later.
    first = (now - BEFORE) // 10_800 * 10_800 + 3600
    for number in range(8):
        at = first + number * 10_800
        if now - BEFORE < at < now + AHEAD:
            yield _x(at, now), f"{local(at):%H}"


def _ticks(now: float) -> Html:
    places = [("tick", x) for x, _ in _hours(now)] + [("present", _x(now, now))]
    return Html("".join(f'<line class="{name}" x1="{x}" x2="{x}" y1="0" y2="100%"/>' for name, x in places))


def _hour_names(now: float) -> Html:
    names = [
        f'<text x="{x}" y="19" text-anchor="middle">{name}</text>'
        for x, name in _hours(now)
        if abs(float(x[:-1]) - BEFORE / (BEFORE + AHEAD) * 100) > 6
    ]
    present = f'<text class="presently" x="{_x(now, now)}" y="19" text-anchor="middle">{local(now):%H:%M}</text>'
    return Html("".join((*names, present)))


def _columns(survey: Survey, found: Sequence[Line]) -> Html:
    by_status: dict[str, list[Line]] = {}
    for line in found:
        by_status.setdefault(line.record.status, []).append(line)
    sections = []
    for stage, heading, statuses in STAGES:
        cards = [_column_status(name, by_status.get(name, [])) for name in statuses if name in by_status]
        count = sum(len(by_status.get(name, ())) for name in statuses)
        sections.append(fill("column", stage=stage, heading=heading, count=f"{count:,}", statuses=joined(cards)))
    return Html(f'<div class="columns">{joined(sections)}</div>')


def _column_status(name: str, lines: Sequence[Line]) -> Html:
    more = len(lines) - CARDS
    return fill(
        "column-status",
        status_name=name,
        status=status(name),
        count=f"{len(lines):,}",
        cards=joined(
            fill(
                "card",
                kind=line.due.kind,
                id=line.record.id,
                name=name_of(line.record),
                vessel=short(line.facts.vessel),
                to=short(line.facts.deliver_to),
                due=due(line.due),
            )
            for line in lines[:CARDS]
        ),
        more=Html(f'<p class="mut">and {more:,} more</p>') if more > 0 else "",
    )


def due(told: Due) -> Html:
    """When something has to happen to an order."""
    return fill("due-open" if told.kind == "over" else f"due-{told.kind}", text=told.text)


def name_of(record: TaskRecord) -> str:
    """What an order is called in a line: its tracking id, or the beginning of its id."""
    return short(record.tracking_id) or record.id[:8]


@cache
def status(name: str) -> Html:
    """A status with its sign."""
    return fill("status", status=name, stage=STAGE_OF[name])


@cache
def broken(name: str) -> Html:
    """A long word that may be broken at its underscores."""
    return Html(safe(name).replace("_", "_<wbr>"))


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _off(value: bool) -> Html:
    return Html(" disabled" if value else "")
