"""Any table of orders, in any of the languages: a drafted map never misreads one, as it is and completed."""

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

import gotsurge_async.tables.maps.guessing as guessing
from gotsurge_async.money import Money
from gotsurge_async.tables.maps.ways import quoted
from gotsurge_async.tables.options import read_map
from tests.tables.kit import cells_of, plain_table, read
from tests.tables.maps.test_draft import drafted

with guessing._FILE.open(encoding="utf-8", newline="") as _file:
    ROWS = {line["field"]: line for line in csv.DictReader(_file)}
LANGUAGES = ("en", "de", "fr", "es", "zh")
ZONE = timedelta(hours=8)


def words(field: str, language: str) -> list[str]:
    """The words of a field; English ones where the language has none."""
    return (ROWS[field][language] or ROWS[field]["en"]).split("|")


@st.composite
def names(draw: st.DrawFn, row: str, side: str = "") -> str:
    """A name of a column, in any language, order, case and form of Unicode."""
    language = draw(st.sampled_from(LANGUAGES))
    name = draw(st.sampled_from(words(row, language)))
    if side:
        sides = words(side, language) + ([] if "window" in row else words(f"{side} place", language))
        forms = ["{word} {side}", "{side} {word}", "{word} ({side})", "{side}-{word}", "{word}"]
        if language in ("de", "zh"):
            forms.append("{side}{word}")
        name = draw(st.sampled_from(forms)).format(word=name, side=draw(st.sampled_from(sides)))
    form = draw(st.sampled_from((str, str.upper, str.title, lambda text: unicodedata.normalize("NFD", text))))
    return form(name)


STREETS = (
    "7 Loyang Way 4",
    "Berth J07, Pier 2",
    "Hafenstraße 3",
    "12 rue de la Paix",
    "Plaza Mayor 5",
    "上海路5号",
    "Pier 3",
)
PEOPLE = ("Tan Wei Ming", "José Marañón", "李雷", "Jürgen Groß", "O'Neil")
VESSELS = ("MV Example", "EVER GIVEN", "Coral", "海洋之星")
OTHERS = (
    *("Status", "Total", "Ship date", "Delivery company", "Delivered at", "ETA", "fee", "Line item", "Lieferschein"),
    *("Invoice address", "Delivery note", "Versanddatum", "Country of origin", "Fecha de envío", "发货时间", "Ort"),
)
"""Names of columns that no order has."""
ASIDE = ("currency", "client_time_utc", "total_weight_unit")
DAYS = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y年%m月%d日", "%d %b %Y",
        "%d/%m/%y", "%m/%d/%y", "%d.%m.%y")  # fmt: skip
CLOCKS = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%Hh%M")
PHONES: tuple[Callable[[str], str], ...] = (
    lambda own: f"+65{own}",
    lambda own: f"+65 {own[:4]} {own[4:]}",
    lambda own: own,
    lambda own: f"{own[:4]} {own[4:]}",
    lambda own: f"65{own}",
    lambda own: f"0065{own}",
    lambda own: f"(+65) {own}",
)
NUMBERS: Mapping[str, Callable[[Decimal], str]] = {
    "1234.56": lambda number: f"{number:f}",
    "1,234.56": lambda number: f"{number:,f}",
    "1.234,56": lambda number: f"{number:,f}".translate(str.maketrans(",.", ".,")),
    "1 234,56": lambda number: f"{number:,f}".translate(str.maketrans(",.", " ,")),
}


def sampled(form: str) -> str:
    """31 December 2030, 23:59:58, in a form."""
    return datetime(2030, 12, 31, 23, 59, 58).strftime(form)  # noqa: DTZ001 - a sample of a text


@attrs.define
class Table:
    """A table, and what is true of it: the orders, and how each field is written."""

    header: list[str] = attrs.field(factory=list)
    columns: list[list[str]] = attrs.field(factory=list)
    fields: list[tuple[str, int]] = attrs.field(factory=list)  # of each column: its field, and the place in it
    truth: list[dict[str, Any]] = attrs.field(factory=list)
    rules: dict[str, set[str]] = attrs.field(factory=dict)
    currency: str = "SGD"

    def add(self, name: str, field: str, cells: list[str], place: int = 0) -> None:
        """A column."""
        self.header.append(name)
        self.fields.append((field, place))
        self.columns.append(cells)

    def named(self) -> list[str]:
        """The names of the columns in a map."""
        counts = Counter[str]()
        result = []
        for name in self.header:
            counts[name] += 1
            result.append(f"{name}#{counts[name]}" if counts[name] > 1 else name)
        return result

    def completed(self, text: str) -> str:
        """The map with the lines that are true."""
        lines, section, used = [], "", set()
        columns: dict[str, list[str]] = {}
        for _, fields, name in sorted(
            (place, fields, name) for name, (fields, place) in zip(self.named(), self.fields, strict=True)
        ):
            for field in fields.split("+"):
                columns.setdefault(field, []).append(name)
        for line in text.splitlines():
            if header := re.fullmatch(r"(?:# )?\[(.*)\]", line):
                section = header[1]
                line = line.removeprefix("# ") if "values" not in section else line
            entry = re.fullmatch(r'# ("(?:[^"\\]|\\.)*"|currency) = (.*?)(?:  # .*)?', line)
            if entry and section != "" and "…" not in entry[2]:
                key, value = (read_map(f"[columns]\n{entry[1]} = 'price'".encode(), "m").orders.columns, entry[2])
                name = next(iter(key))
                true = (
                    (section == "columns" and columns.get(value.strip('"')) == [name])
                    or (section == "join" and value.startswith(f"{{ columns = {quoted(columns.get(name, []))},"))
                    or (section in ("dates", "numbers", "phones") and value in self.rules.get(name, ()))
                    or (section == "constants" and value == f'"{self.currency}"')
                )
                if true and (section, name) not in used:
                    used.add((section, name))
                    line = line.removeprefix("# ")
            lines.append(line)
        return "\n".join(lines) + "\n"


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Any table of one to four orders."""
    count = draw(st.integers(1, 4))
    table = Table(truth=[{} for _ in range(count)])

    def fill(field: str, value: Callable[[int], Any]) -> list[Any]:
        values = [value(row) for row in range(count)]
        for truth, each in zip(table.truth, values, strict=True):
            truth[field] = each
        return values

    def choose(field: str, texts: Any) -> list[str]:
        return fill(field, lambda _: draw(st.sampled_from(texts)))

    table.add(draw(names("tracking_id")), "tracking_id", fill("tracking_id", lambda row: f"K-{row}"))
    for field, values in (
        ("broadcast_preference", ("marine", "squad")),
        ("vehicle_preference", ("car", "van_1.7m", "lorry_10ft")),
        ("service_type", ("ftl", "ltl")),
    ):
        form = draw(st.sampled_from((str, str.upper, lambda text: text.replace("_", " ").title())))
        table.add(draw(names(field)), field, [form(text) for text in choose(field, values)])
    for side in ("from", "to"):
        for part, texts in (
            ("_address.street_address", STREETS),
            ("_address.zip_code", ("018956", "117606")),
            ("_contact.name", PEOPLE),
            ("_contact.vessel_name", VESSELS),
            ("_contact.vessel_imo", ("9074729", "9321483")),
            ("_contact.email", ("ops@example.com", "a.b@c.example")),
        ):
            if draw(st.booleans()) or part == "_address.street_address":
                table.add(draw(names(f"*{part}", side)), side + part, choose(side + part, texts))
        if draw(st.booleans()):
            field, form = f"{side}_contact.phone", draw(st.sampled_from(PHONES))
            own = choose(field, ("91755010", "80047975", "61234567"))
            for truth in table.truth:
                truth[field] = f"+65{truth[field]}"
            table.add(draw(names("*_contact.phone", side)), field, [form(each) for each in own])
            table.rules[field] = {'"+65 61234567"'}
    add_times(draw, table)
    for field, decimals in (("price", (2,)), ("total_item_weight", (0, 1, 3)), ("cargo_net_quantity", (0,))):
        add_numbers(draw, table, field, draw(st.sampled_from(decimals)))
    for name in draw(st.lists(st.sampled_from(OTHERS), max_size=4, unique=True)):
        noise = draw(st.sampled_from((STREETS, PEOPLE, VESSELS, ("9.50", "4"), ("03/04/2030",), ("14:00",), ("x", ""))))
        table.add(name, "", [draw(st.sampled_from(noise)) for _ in range(count)])
    order = draw(st.permutations(range(len(table.header))))
    return attrs.evolve(
        table,
        header=[table.header[place] for place in order],
        columns=[table.columns[place] for place in order],
        fields=[table.fields[place] for place in order],
    )


def add_times(draw: st.DrawFn, table: Table) -> None:
    """The columns of both windows: of two moments each, or of a day and two times of day."""
    days, clock = draw(st.sampled_from(DAYS)), draw(st.sampled_from(CLOCKS))
    window = "*_time_window"
    for hour, side in ((9, "from"), (13, "to")):
        starts = []
        for truth in table.truth:
            day = datetime(2030, 3, 5) + timedelta(days=draw(st.integers(0, 290)))  # noqa: DTZ001 - of the file's zone
            day = truth.setdefault("day", day)
            starts.append(day.replace(hour=hour, minute=draw(st.sampled_from((0, 30)))))
        ends = [start + timedelta(hours=2) for start in starts]
        for end, moments in (("start", starts), ("end", ends)):
            for truth, moment in zip(table.truth, moments, strict=True):
                truth[f"{side}_time_window.{end}_time_utc"] = (moment - ZONE).replace(tzinfo=UTC)
            table.rules[f"{side}_time_window.{end}_time_utc"] = {f'"{sampled(f"{days} {clock}")}"'}
        if draw(st.booleans()):
            for end, moments in (("start", starts), ("end", ends)):
                field = f"{side}_time_window.{end}_time_utc"
                name = draw(names(f"{window}.{end}_time_utc", side))
                table.add(name, field, [moment.strftime(f"{days} {clock}") for moment in moments])
        else:
            both = f"{side}_time_window.start_time_utc+{side}_time_window.end_time_utc"
            table.add(draw(names(window, side)), both, [start.strftime(days) for start in starts])
            for end, moments in (("start", starts), ("end", ends)):
                field, name = f"{side}_time_window.{end}_time_utc", draw(names(f"{window}.{end}_time_utc", side))
                table.add(name, field, [moment.strftime(clock) for moment in moments], 1)
    for truth in table.truth:
        del truth["day"]


def add_numbers(draw: st.DrawFn, table: Table, field: str, decimals: int) -> None:
    """A column of numbers in one way of writing them."""
    style = draw(st.sampled_from((*NUMBERS,)))
    before, after = (
        draw(st.sampled_from((("", ""), ("S$", ""), ("", " €"), ("$", "")))) if field == "price" else ("", "")
    )
    numbers = [
        Decimal(draw(st.integers(200, 99_999)))
        .scaleb(-decimals if decimals else -1)
        .quantize(Decimal(1).scaleb(-decimals))
        for _ in table.truth
    ]
    for truth, number in zip(table.truth, numbers, strict=True):
        truth[field] = number
    if field == "price":
        table.currency = "EUR" if after else "SGD"
    point = style[-3]
    table.rules[field] = {f'"{before}{each}{after}"' for each in NUMBERS if each[-3] == point}
    table.add(draw(names(field)), field, [f"{before}{NUMBERS[style](number)}{after}" for number in numbers])


def test_a_drafted_map_reads_the_orders_or_reports_a_fault() -> None:
    """What is active in a draft is true, and what is left to choose is no wrong value before a person chose."""
    completed: list[bool] = []

    @given(tables())
    @settings(max_examples=12, deadline=None)
    def check(table: Table) -> None:
        text = plain_table(table.header, *zip(*table.columns, strict=True))
        made = drafted(text, timezone="Asia/Singapore")
        is_read(table, text, made.text)
        completed.append(is_read(table, text, table.completed(made.text)))

    check()
    assert sum(completed) > len(completed) / 2  # in the others, a day and its times have too little in common


def is_read(table: Table, text: str, proposed: str) -> bool:
    """Whether a map reads a table; if it does, then exactly the orders."""
    result = read(
        text,
        file_map=read_map(proposed.encode(), "m"),
        timezone="Asia/Singapore",
        max_price=Money.of("1000000", table.currency),
    )
    if result.faults:
        return False
    assert len(result.rows) == len(table.truth)
    for row, truth in zip(result.rows, table.truth, strict=True):
        cells = cells_of(row.order)
        for field, value in truth.items():
            assert same(cells[field], value), (field, cells[field], value, proposed)
        assert {field for field, cell in cells.items() if cell} <= {*truth, *ASIDE}, proposed
    return True


def same(cell: str, value: Any) -> bool:
    """Whether a field has a value."""
    if isinstance(value, Decimal):
        return bool(cell) and Decimal(cell) == value
    if isinstance(value, datetime):
        return bool(cell) and datetime.fromisoformat(cell) == value
    return cell == str(value)
