"""The program of docs/how-to/single-orders.md that submits orders within its own transaction."""

import importlib.util
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from gotsurge_async import codec
from tests.examples.test_fastapi_service import simulator
from tests.support.consoles import FILE
from tests.support.orders import orders
from tests.test_docs import a_bearer_token, variables

__all__ = ["simulator"]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "single-orders.md"


def program(folder: Path) -> Any:
    """The program, as a module."""
    ((text, name),) = FILE.findall(PAGE.read_text(encoding="utf-8"))
    path = folder / name
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("outbox", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
async def test_both_or_neither(
    simulator: Any, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sale that is committed has its delivery; one that fails has none."""
    for name, value in (variables(simulator) | {"SHOP_DATABASE": database, "HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GOTSURGE_BEARER_TOKEN", (await a_bearer_token(simulator)))
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as admin:
        await admin.execute("CREATE TABLE sales (number TEXT PRIMARY KEY)")
        await admin.execute("INSERT INTO sales VALUES ('T-2')")  # so the third sale fails
        outbox = program(tmp_path)
        given = [msgspec.json.decode(codec.encode_order(each)[0]) for each in orders(3)]
        await outbox.main(given[:2])
        with pytest.raises(psycopg.errors.UniqueViolation):
            await outbox.main(given[2:])
        assert await (await admin.execute("SELECT count(*) FROM submitted")).fetchone() == (0,)
    assert sorted(task["tracking_id"] for task in simulator.tasks()) == ["T-0", "T-1"]
    assert capsys.readouterr().out.count("Created(") == 2
