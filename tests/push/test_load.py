"""Orders into the ledger: with their lines, all or none, and nothing that stays locked."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from gotsurge_async import InvalidData, codec
from gotsurge_async.ledger import Ledger, LedgerError, Mode, Run
from gotsurge_async.push.load import Loader, UnusableSource, discarded_on_error, whole_chunks
from gotsurge_async.tables import SourceOptions, open_source
from tests.support.order_forms import CELLS, NOW
from tests.support.orders import order, orders


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """A new ledger, open."""
    async with await Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


def loader(ledger: Ledger) -> Loader:
    """What loads into it."""
    return Loader(ledger, "simulator", Mode.DIRECT)


def file_of(folder: Path, *names: str) -> Path:
    """A CSV of orders with these tracking ids."""
    path = folder / "orders.csv"
    rows = [",".join({**CELLS, "tracking_id": name}.values()) for name in names]
    path.write_text("\n".join([",".join(CELLS), *rows]) + "\n", encoding="utf-8")
    return path


async def lines(run: Run) -> dict[str, int]:
    """The line of each key of a run."""
    return {row.key: row.line async for row in run.rows()}


def test_blocks_are_of_whole_chunks() -> None:
    """What is read at a time is no more than 500 orders, and cuts no chunk."""
    assert [whole_chunks(size) for size in (1, 7, 20)] == [500, 497, 500]


async def test_orders_keep_their_places(ledger: Ledger) -> None:
    """Orders of a program are numbered from 1 on, through all blocks."""
    run, admission = await loader(ledger).orders(orders(501), lambda each: each.tracking_id, "a program")
    assert await lines(run) == {f"T-{number}": number + 1 for number in range(501)}
    assert admission.pending == 501
    await run.close()


async def test_a_file_is_loaded_with_its_lines(ledger: Ledger, tmp_path: Path) -> None:
    """Rows of a file have the lines that they have there, and the run its name, columns and digest."""
    source = open_source(file_of(tmp_path, "A", "B"), options=SourceOptions(now=NOW))
    run, admission = await loader(ledger).source(source)
    source.close()
    assert await lines(run) == {"A": 2, "B": 3}
    assert admission.pending == 2
    info = await ledger.run(run.id)
    assert (info.columns, info.source_sha256) == (tuple(CELLS), source.sha256)
    await run.close()


async def test_a_file_with_a_fault_leaves_nothing(ledger: Ledger, tmp_path: Path) -> None:
    """The faults of a file are told, and no run of it is in the ledger, nor is one of a key that stands twice."""
    for names, told in ((["A", ""], "tracking_id"), (["A", "A"], "is also in line 2")):
        source = open_source(file_of(tmp_path, *names), options=SourceOptions(now=NOW))
        with pytest.raises(UnusableSource) as caught:
            await loader(ledger).source(source)
        source.close()
        assert caught.value.count == 1
        assert told in str(caught.value.faults[0])
        assert await ledger.runs() == []


async def test_an_empty_key_is_none(ledger: Ledger) -> None:
    """An order whose tracking id is empty is named as one without a key."""
    with pytest.raises(UnusableSource, match="no key"):
        await loader(ledger).orders([order("")], lambda each: each.tracking_id, "a program")
    assert await ledger.runs() == []


@pytest.mark.parametrize("key", ["A\u200bB", "A\nB", "A\u00a0B", "A\ufe0fB", "A\u3164B", "A\u0301B"])
async def test_a_key_with_what_nobody_sees_is_refused(ledger: Ledger, key: str) -> None:
    """It would be another key than the one that looks the same."""
    with pytest.raises(UnusableSource, match=r"invisible|normal form"):
        await loader(ledger).orders([order("A"), order(key)], lambda each: each.tracking_id, "program")
    assert await ledger.runs() == []


async def test_a_dict_is_the_order_that_it_was_when_it_was_passed(ledger: Ledger) -> None:
    """A program may change it, and give it again."""

    def given() -> Iterator[dict[str, Any]]:
        plain = json.loads(codec.encode(order("A")))
        for number in range(30):
            plain["tracking_id"] = plain["to_address"]["street_address"] = f"T-{number}"
            yield plain

    run, _ = await loader(ledger).orders(given(), lambda each: each.tracking_id, "program")
    async with run:
        places = [
            json.loads(row.payload)["to_address"]["street_address"] async for page in run.pending() for row in page
        ]
    assert places == [f"T-{number}" for number in range(30)]


async def test_all_faults_of_a_programs_orders_are_reported(ledger: Ledger) -> None:
    """Each with its path; dicts in the places of objects are taken, and nothing is loaded."""
    plain = json.loads(codec.encode(order("A")))
    inside = attrs.evolve(order("B"), to_address={"street_address": "Marina South Pier"})  # type: ignore[arg-type]
    wrong = [plain | {"price": 1.5}, inside, plain | {"to_address": None, "zzz": 1}]
    with pytest.raises(InvalidData) as caught:
        await loader(ledger).orders(wrong, lambda each: each.tracking_id, "program")
    paths = [problem.path for problem in caught.value.problems]
    assert paths == ["orders[0].price", "orders[2].zzz", "orders[2].to_address"]
    assert await ledger.runs() == []
    run, _ = await loader(ledger).orders([inside], lambda each: each.tracking_id, "program")
    await run.close()


async def test_what_fails_after_an_admission_leaves_the_run_to_others(ledger: Ledger) -> None:
    """A run that was admitted before something failed stays, and anybody may take it up."""
    run, _ = await loader(ledger).orders(orders(1), lambda each: each.tracking_id, "a program")
    with pytest.raises(LedgerError, match="the disk is full"):
        async with discarded_on_error(run):
            raise LedgerError("the disk is full")
    again = await ledger.hold(run.id)
    assert await lines(again) == {"T-0": 1}
    await again.close()
