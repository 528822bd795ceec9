"""Tables as other programs write them, each with its map and its truth; and what a simulator has after their push."""

import asyncio
import sqlite3
import tomllib
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from gotsurge_async.bulk import FileMap, Ledger, Mode, Push, SourceOptions, open_source
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from gotsurge_async.simulator import Simulator
from gotsurge_async.tables import Query
from gotsurge_async.tables.fields import columns_of
from gotsurge_async.tables.options import read_map
from gotsurge_async.testing import simulated
from tests.support.order_forms import NOW
from tests.support.sheets import ods_bytes, write_parquet, xls_bytes, xlsx_bytes
from tests.tables.kit import cells_of

FOLDER = Path(__file__).with_name("programs")


@attrs.frozen
class Program:
    """A table as one program writes it, and what is true of it: a file of the folder ``programs``.

    Attributes:
        name: of that file.
        content: what the file contains. ``file`` is the name of the table. It is made of ``data``, a text, with
            its ``encoding`` and the ``end`` of its rows; of ``rows`` with types, with ``formats`` and ``book`` for
            a workbook and ``types`` for Parquet; or of a ``script`` for SQLite, which a ``query`` is put to. ``map``
            is what a careful person writes for it. ``orders`` are the cells that GotSurge must get, under the names
            of ``fields``; ``all`` are those of every order, and ``items`` the names and quantities of their items.
    """

    name: str
    content: dict[str, Any] = attrs.field(repr=False)

    @property
    def map(self) -> str:
        """The map that a careful person writes for it."""
        return str(self.content["map"])

    @property
    def truth(self) -> dict[str, dict[str, str]]:
        """The cells of each order by its tracking id."""
        same, fields = self.content.get("all", {}), self.content["fields"]
        orders = [{**same, **dict(zip(fields, cells, strict=True))} for cells in self.content["orders"]]
        return {order["tracking_id"]: {name: order.get(name, "") for name in columns_of(Order)} for order in orders}

    def written(self, folder: Path) -> Path:
        """The file that the program writes."""
        content, path = self.content, folder / str(self.content["file"])
        if "data" in content:
            # A line break inside quotes is LF alone, whatever ends the rows.
            parts = content["data"].split('"')
            parts[::2] = [part.replace("\n", content.get("end", "\n")) for part in parts[::2]]
            text = '"'.join(parts)
            path.write_bytes(text.encode(content.get("encoding", "utf-8")))
        elif "script" in content:
            with sqlite3.connect(path) as database:
                database.executescript(content["script"])
            database.close()
        else:
            rows = [[None if cell == "" else cell for cell in row] for row in content["rows"]]
            self._write_typed(path, rows)
        return path

    def _write_typed(self, path: Path, rows: list[list[Any]]) -> None:
        if path.suffix == ".parquet":
            write_parquet(path, rows, self.content["types"])
        elif path.suffix == ".xlsx":
            formats = self.content.get("formats", {})
            header = next((row for row in rows if {*formats} <= {*row}), [])
            by_place = {header.index(name): form for name, form in formats.items()}
            path.write_bytes(xlsx_bytes(rows, formats=by_place, **self.content.get("book", {})))
        else:
            path.write_bytes({".xls": xls_bytes, ".ods": ods_bytes}[path.suffix](rows))

    def options(self, path: Path, file_map: FileMap | None = None) -> SourceOptions:
        """How its file is read: by its own map, unless another one is named."""
        query = Query(sql=self.content["query"], url=f"sqlite:///{path}") if "query" in self.content else None
        own = read_map(self.map.encode(), f"{self.name}.toml") if file_map is None else file_map
        return SourceOptions(
            now=NOW,
            max_price=Money.of(self.content.get("max_price", 50_000), ""),
            file_map=own,
            query=query,
            items=path if self.content.get("items") else None,
        )


def programs() -> dict[str, Program]:
    """All of them, by the names of their files."""
    files = sorted(FOLDER.glob("*.toml"))
    return {file.stem: Program(file.stem, tomllib.loads(file.read_text(encoding="utf-8"))) for file in files}


def differences(cells: dict[str, str], truth: dict[str, str]) -> dict[str, tuple[str, str]]:
    """The fields that are wrong in an order: what it has, and what is true. The org_id is of GotSurge's own making."""
    return {
        name: (cells[name], truth[name])
        for name, column in columns_of(Order).items()
        if name != "org_id" and _meaning(cells[name], column.kind) != _meaning(truth[name], column.kind)
    }


def _meaning(text: str, kind: type) -> Any:
    """The value of a cell: 48.5 is 48.50, and a moment is the same one in any zone."""
    if text and kind is datetime:
        return datetime.fromisoformat(text)
    return Decimal(text) if text and kind in (Money, int, float) else text


@attrs.frozen
class Pushed:
    """What a simulator has after a push: its tasks as the cells that would give them, their items, and its audit."""

    tasks: dict[str, dict[str, str]]
    items: dict[str, list[tuple[str | None, float | None]]]
    audit: dict[str, Any]


async def pushed(file: str, options: SourceOptions, folder: Path) -> Pushed:
    """Push a file, or what a database answers."""
    async with (
        Simulator() as simulator,
        simulated("platform", simulator=simulator) as gs,
        await Ledger.open(folder / "ledger.db") as ledger,
    ):
        with await asyncio.to_thread(open_source, file, options=options) as source:
            push = Push(gs, ledger, mode=Mode.TWO_PHASE)
            run, _ = await push.load_source(source)
        async with run:
            await push.send(run)
            rows = [row async for row in run.rows()]
        tasks = [await gs.platform.tasks.get(row.task_id or "") for row in rows]
        return Pushed(
            {str(task.tracking_id): cells_of(task) for task in tasks},
            {str(task.tracking_id): [(item.name, item.quantity) for item in task.items] for task in tasks},
            simulator.audit(),
        )
