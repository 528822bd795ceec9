"""The example files, and the script that makes them."""

import csv
import importlib.util
import json
import re
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

EXAMPLES = Path(__file__).parents[2] / "examples"


def _load() -> ModuleType:
    # By its path: a script in a folder that is no package.
    spec = importlib.util.spec_from_file_location("generate_orders", EXAMPLES / "generate_orders.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = _load()


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def orders() -> list[dict[str, str]]:
    """The committed orders."""
    return _rows(EXAMPLES / "orders.csv")


@pytest.fixture(scope="module")
def items() -> dict[str, list[dict[str, str]]]:
    """The committed items, by tracking id."""
    grouped = defaultdict(list)
    for item in _rows(EXAMPLES / "items.csv"):
        grouped[item["tracking_id"]].append(item)
    return grouped


def _check_digit_holds(imo: int) -> bool:
    *leading, last = (int(digit) for digit in f"{imo:07d}")
    return sum(digit * weight for digit, weight in zip(leading, (7, 6, 5, 4, 3, 2), strict=True)) % 10 == last


def test_committed_files_are_what_the_script_writes(tmp_path: Path) -> None:
    """The files in the repository are, byte for byte, what the script makes of 500 and seed 7."""
    script.main(["--count", "500", "--seed", "7", "--out", str(tmp_path)])
    for name in ("orders.csv", "items.csv"):
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes()


def test_same_seed_same_orders() -> None:
    """Two runs with one seed give equal orders, and a longer run begins with those of a shorter one."""
    assert list(script.orders(40, 3)) == list(script.orders(40, 3)) == list(script.orders(60, 3))[:40]


@pytest.mark.slow
def test_ids_are_unique_at_any_count() -> None:
    """Tracking ids and invoice numbers do not repeat: an id ends with the order's number, past six digits, too."""
    made = list(script.orders(20_000, 7))
    assert len({order["tracking_id"] for order in made}) == len({order["invoice_number"] for order in made}) == 20_000
    for number in (999_999, 1_000_000, 1_000_001):
        order = script._order(number, 7, script._pickup(script._WAREHOUSES[0]), script._vessel(0, 7))
        assert order["tracking_id"] == f"SHS07-{number}"
        assert order["invoice_number"] == f"INV07-2030-{number}"


def test_items_belong_to_orders(orders: list[dict[str, str]], items: dict[str, list[dict[str, str]]]) -> None:
    """Every order has one to five different items, whose quantities sum up to its cargo_net_quantity."""
    assert set(items) == {order["tracking_id"] for order in orders}
    for order in orders:
        lines = items[order["tracking_id"]]
        assert 1 <= len(lines) == len({line["name"] for line in lines}) <= 5
        assert sum(int(line["quantity"]) for line in lines) == int(order["cargo_net_quantity"])
        assert all(int(line["quantity"]) > 0 and Decimal(line["weight"]) > 0 for line in lines)


@pytest.mark.parametrize("seed", [0, 7, 2030])
def test_windows_are_in_order(seed: int) -> None:
    """A pickup starts within the week after the order is placed and ends before the delivery starts."""
    for order in script.orders(500, seed):
        placed, *times = (
            datetime.strptime(order[column], "%Y-%m-%dT%H:%M:%S%z")
            for column in (
                "client_time_utc",
                "from_time_window.start_time_utc",
                "from_time_window.end_time_utc",
                "to_time_window.start_time_utc",
                "to_time_window.end_time_utc",
            )
        )
        assert placed < times[0]
        assert times == sorted(times)
        assert times[1] <= placed + timedelta(days=7)
        assert order["client_time_utc"] == "2030-03-04T01:00:00Z"


@pytest.mark.parametrize("seed", [0, 7, 2030])
def test_values_are_what_the_api_takes(seed: int) -> None:
    """Enumerations, prices, phones, postcodes and coordinates have the API's form, inside Singapore's waters."""
    for order in script.orders(500, seed):
        assert order["broadcast_preference"] in {"marine", "squad", "all"}
        assert re.fullmatch(r"\d+\.\d\d", order["price"])
        assert Decimal("2.00") <= Decimal(order["price"]) < 1000
        assert order["currency"] == "SGD"
        for end in ("from", "to"):
            assert re.fullmatch(r"\+65[689]\d{7}", order[f"{end}_contact.phone"])
            assert re.fullmatch(r"\d{6}", order[f"{end}_address.zip_code"])
            assert Decimal("1.15") < Decimal(order[f"{end}_address.latitude"]) < Decimal("1.48")
            assert Decimal("103.59") < Decimal(order[f"{end}_address.longitude"]) < Decimal("104.10")
        assert _check_digit_holds(int(order["to_contact.vessel_imo"]))


def _texts(value: Any, prefix: str = "") -> dict[str, str]:
    """A task's fields as dotted columns, its numbers as JSON writes them."""
    if not isinstance(value, dict):
        return {prefix: value if isinstance(value, str) else json.dumps(value)}
    fields: dict[str, str] = {}
    for key, inner in value.items():
        fields |= _texts(inner, f"{prefix}.{key}" if prefix else key)
    return fields


def test_jsonl_has_the_orders_of_the_csv(tmp_path: Path) -> None:
    """The JSON Lines hold the same orders and items in the API's shape, prices as thousandths of a cent."""
    script.main(["--count", "60", "--seed", "5", "--out", str(tmp_path), "--format", "jsonl"])
    script.main(["--count", "60", "--seed", "5", "--out", str(tmp_path)])
    items = defaultdict(list)
    for item in _rows(tmp_path / "items.csv"):
        items[item["tracking_id"]].append({key: text for key, text in item.items() if text})
    lines = (tmp_path / "orders.jsonl").read_text(encoding="utf-8").splitlines()
    for line, order in zip(lines, _rows(tmp_path / "orders.csv"), strict=True):
        task = json.loads(line)
        assert task["price"] == Decimal(order["price"]) * 100_000
        assert [_numbers({"tracking_id": task["tracking_id"], **_texts(item)}) for item in task.pop("items")] == [
            _numbers(item) for item in items[task["tracking_id"]]
        ]
        assert _numbers(_texts(task)) == _numbers(
            {column: text for column, text in order.items() if text} | {"price": str(task["price"])}
        )


def _numbers(row: dict[str, str]) -> dict[str, str | Decimal]:
    # 103.7190 and 103.719 are one longitude.
    numeric = ("latitude", "longitude", "weight", "volume", "quantity", "vessel_imo", "price")
    return {column: Decimal(text) if column.endswith(numeric) else text for column, text in row.items()}


def test_jsonl_numbers_are_numbers() -> None:
    """Coordinates, quantities, IMO numbers and prices are JSON numbers, and what is not known is left out."""
    task = script.task_of(next(script.orders(1, 7)))
    assert isinstance(task["price"], int)
    assert isinstance(task["cargo_net_quantity"], int)
    assert isinstance(task["to_contact"]["vessel_imo"], int)
    assert isinstance(task["from_address"]["latitude"], float)
    assert isinstance(task["items"][0]["quantity"], int)
    assert isinstance(task["from_address"]["zip_code"], str)
    assert "" not in _texts(task).values()


@given(st.integers(min_value=100_000, max_value=999_999))
def test_imo_number_has_its_check_digit(n: int) -> None:
    """The last of the seven digits is the weighted sum of the six given ones, modulo ten."""
    imo = script.imo_number(n)
    assert imo // 10 == n
    assert _check_digit_holds(imo)


def test_orders_come_one_at_a_time() -> None:
    """A million million orders cost nothing before they are asked for."""
    assert [order["tracking_id"] for order in islice(script.orders(10**12, 7), 2)] == ["SHS07-000001", "SHS07-000002"]


@pytest.mark.parametrize("wrong", [["--count", "-1"], ["--seed", "-1"], ["--count", "many"], ["--format", "xml"]])
def test_wrong_arguments_write_nothing(wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An argument out of range ends with status 2, names itself, and writes no file."""
    with pytest.raises(SystemExit) as stopped:
        script.main([*wrong, "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert wrong[0] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
