"""Models as JSON and back: `to_json`, `to_dict`, `from_dict`, and pydantic, which reads and writes them alike."""

import json
import subprocess
import sys
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Body, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from gotsurge_async import codec
from gotsurge_async.errors import InvalidData, UsageError
from gotsurge_async.models.answers import CreatedTasks, Task
from gotsurge_async.models.auth import PartnerDetail
from gotsurge_async.models.base import Model, fields_of
from gotsurge_async.models.tasks import Order
from tests.support.orders import WIRE, order
from tests.support.strategies import MODELS, models

SECRET = [cls for cls in MODELS if any(field.secret for field in fields_of(cls))]
OPEN = [cls for cls in MODELS if cls not in SECRET]
ODD = {
    "id": 7,
    "_rev": "3-a",
    "current_status": "lost_at_sea",
    "price": 250_000,
    "currency": "SGD",
    "updated_at": "2030-03-04T12:00:00.25+08:00",
    "items": [{"name": "Rope", "weight": "2 kg"}],
    "group_tag": 5,
    "mood": {"of": ["the", None, 1.5]},
}
"""A task with a whole number as its id, an unknown status, values that do not fit, and a field without a name."""


@settings(max_examples=50)
@given(st.one_of(*map(models, OPEN)))
def test_a_model_is_the_same_after_a_round_trip(model: Model) -> None:
    """Unknown fields, amounts, times and unknown values of enumerations come back as they were."""
    assert type(model).from_dict(model.to_dict()) == model
    assert json.loads(model.to_json()) == model.to_dict()
    adapter: TypeAdapter[Any] = TypeAdapter(type(model))
    assert adapter.validate_json(adapter.dump_json(model)) == adapter.validate_python(model) == model


def test_the_names_and_units_are_the_services() -> None:
    """An order is written as GotSurge's document has it; an odd answer is written as it came."""
    assert order().to_dict() == WIRE
    task = codec.decode(json.dumps(ODD).encode(), Task)
    assert task.to_dict() == {**ODD, "updated_at": "2030-03-04T04:00:00.250000Z"}
    assert Task.from_dict(task.to_dict()) == task
    created = codec.decode(json.dumps({"tasks": [ODD, {"no": "task"}]}).encode(), CreatedTasks)
    assert CreatedTasks.from_dict(created.to_dict()) == created
    assert created.to_dict()["tasks"][1] == {"no": "task"}


def test_what_programs_write_is_read_strictly() -> None:
    """An order whose price is no number is refused with its path, by pydantic as well; a task keeps the text."""
    with pytest.raises(InvalidData, match=r"^price: expected a whole number"):
        Order.from_dict({**WIRE, "price": "free"})
    with pytest.raises(ValidationError, match="price: expected a whole number"):
        TypeAdapter(Order).validate_python({**WIRE, "price": "free"})
    with pytest.raises(InvalidData, match="id: is required but missing"):
        Task.from_dict({})
    assert Task.from_dict({"id": "t-1", "price": "free"}).extra == {"price": "free"}


def test_what_could_not_be_sent_is_refused_when_it_is_read() -> None:
    """A number that JSON has no form for is a fault with its path."""
    plain = order().to_dict()
    with pytest.raises(InvalidData, match="latitude: "):
        Order.from_dict({**plain, "to_address": {"latitude": float("nan"), "longitude": 1.0}})


@pytest.mark.parametrize("at", ["from_time_window.start_time_utc", "client_time_utc"])
def test_a_time_without_a_zone_is_no_instant(at: str) -> None:
    """What a program writes is not taken for UTC: it is refused with its path, as `create` refuses it."""
    plain = order().to_dict()
    place, _, name = at.rpartition(".")
    (plain[place] if place else plain)[name] = "2030-03-04T12:00:00"
    for read in (Order.from_dict, TypeAdapter(Order).validate_python):
        with pytest.raises((InvalidData, ValidationError), match=rf"{at}: .*has no time zone"):
            read(plain)


@pytest.mark.parametrize("cls", SECRET)
def test_a_model_with_secrets_is_not_written(cls: type[Model]) -> None:
    """No secret becomes visible: it is refused, and a schema of pydantic cannot be made of it."""
    values: dict[str, Any] = {field.name: "hidden" for field in fields_of(cls) if field.required or field.secret}
    for write in (cls(**values).to_dict, cls(**values).to_json, lambda: TypeAdapter(cls)):
        with pytest.raises(UsageError, match="contains secrets") as refusal:
            write()
        assert "hidden" not in str(refusal.value)
    assert PartnerDetail in SECRET


async def test_fastapi_returns_and_takes_them() -> None:
    """A typed endpoint returns a task, an order is a body and is checked, and the OpenAPI document is rendered."""
    app = FastAPI()

    class Seen(BaseModel):
        task: Task
        note: str

    @app.get("/task")
    async def task() -> Task:
        return Task.from_dict(ODD)

    @app.get("/seen")
    async def seen() -> list[Seen]:
        return [Seen(task=Task.from_dict(ODD), note="odd")]

    @app.post("/orders")
    async def take(given: Annotated[Order, Body()]) -> Order:
        return given

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        read = await client.get("/task")
        assert read.json() == Task.from_dict(ODD).to_dict()
        assert TypeAdapter(Task).validate_json(read.content) == Task.from_dict(ODD)
        assert (await client.get("/seen")).json() == [{"task": read.json(), "note": "odd"}]
        assert (await client.post("/orders", json=WIRE)).json() == WIRE
        refusal = await client.post("/orders", json={**WIRE, "price": "free"})
        assert refusal.status_code == 422
        assert "price: expected a whole number" in refusal.text
        document = (await client.get("/openapi.json")).json()
    assert document["components"]["schemas"]["Seen"]["properties"]["task"] == {"type": "object", "title": "Task"}
    shown = document["paths"]["/task"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert shown["type"] == "object"


def test_pydantic_is_not_imported() -> None:
    """Writing and reading a task needs no pydantic."""
    code = "import sys; from gotsurge_async import Task; Task.from_dict(Task(id='1').to_dict())"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'pydantic' not in sys.modules"], check=True, timeout=60)


@pytest.mark.parametrize("field", ["driver", "epod", "attachments", "odd"])
def test_what_is_nested_too_deep_is_refused(field: str) -> None:
    """Reading or writing it ends in an error of ours, wherever it stands."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidData, match=r"nested too deeply|cannot be written as JSON"):
        Task.from_dict({"id": "t-1", field: {"inside": deep} if field == "epod" else deep}).to_json()
