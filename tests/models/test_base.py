"""`gotsurge_async.models.base`: open enumerations, UTC times, unknown fields."""

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.models.answers import Task
from gotsurge_async.models.base import Model, OpenEnum, optional_utc, read_utc, utc
from gotsurge_async.models.tasks import BroadcastPreference, TaskStatus, VehiclePreference
from tests.support.strategies import MODELS

SINGAPORE = timezone(timedelta(hours=8))


@given(st.text())
def test_an_enumeration_takes_any_text(text: str) -> None:
    """A value is kept as it came, equals and hashes as its text, and is known only if it is listed."""
    value = VehiclePreference(text)
    assert value == text
    assert hash(value) == hash(text)
    assert str(value) == f"{value}" == text
    assert isinstance(value, VehiclePreference)
    assert value.known == (text in list(VehiclePreference))
    assert VehiclePreference(value) == value


@pytest.mark.parametrize("status", TaskStatus)
@pytest.mark.parametrize("change", [str.upper, str.capitalize, lambda text: f" {text}\n"])
def test_a_status_is_known_in_any_capitals(status: TaskStatus, change: Callable[[str], str]) -> None:
    """A model and a class read it as the listed value; another text is not one, even if it is close to one."""
    assert TaskStatus(change(status)) is status
    task = codec.decode(msgspec.json.encode({"id": "1", "current_status": change(status)}), Task)
    assert task.current_status is status
    assert not TaskStatus(f"{status}s").known


@pytest.mark.parametrize("value", ["complete", "lost_at_sea"])
def test_an_enumeration_value_is_copied_and_pickled(value: str) -> None:
    """A value, listed or not, is the same after a copy and a pickle."""
    status = TaskStatus(value)
    assert copy.deepcopy(status) == pickle.loads(pickle.dumps(status)) == status  # noqa: S301
    assert type(pickle.loads(pickle.dumps(status))) is TaskStatus  # noqa: S301


@pytest.mark.parametrize("value", [None, 5, b"marine", ["marine"]])
def test_an_enumeration_takes_nothing_but_text(value: Any) -> None:
    """What is no text is no value."""
    with pytest.raises(ValueError, match="is not a valid BroadcastPreference"):
        BroadcastPreference(value)


def test_an_unlisted_value_does_not_join_the_list() -> None:
    """Meeting an unknown value does not make it known."""
    before = list(TaskStatus)
    TaskStatus("lost_at_sea")
    assert list(TaskStatus) == before
    assert not TaskStatus("lost_at_sea").known


def test_times_are_brought_to_utc() -> None:
    """The same instant, in UTC; None stays None; a naive time names no instant, unless it is the service's."""
    moment = datetime(2026, 1, 1, 8, tzinfo=SINGAPORE)
    for made in (utc(moment), optional_utc(moment), read_utc(moment), read_utc(datetime(2026, 1, 1))):  # noqa: DTZ001
        assert made == moment
        assert made is not None
        assert made.tzinfo is UTC
    assert optional_utc(None) is None
    with pytest.raises(ValueError, match="2026-01-01T00:00:00 has no time zone: give an aware datetime"):
        utc(datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    "moment", [datetime.min.replace(tzinfo=SINGAPORE), datetime.max.replace(tzinfo=timezone(timedelta(hours=-8)))]
)
def test_a_time_outside_the_calendar_is_refused(moment: datetime) -> None:
    """An instant that UTC has no date for is a ValueError that shows it."""
    for convert in (utc, optional_utc, read_utc):
        with pytest.raises(ValueError, match=", converted to UTC, is outside the years 1 to 9999"):
            convert(moment)


@pytest.mark.parametrize("cls", MODELS)
def test_every_model_is_a_value(cls: type[Model]) -> None:
    """Each class is frozen, slotted and keyword-only, and its repr shows no unknown field."""
    assert not any("__dict__" in vars(base) for base in cls.__mro__)
    assert all(field.kw_only for field in attrs.fields(cls))
    assert cls.__setattr__ is not object.__setattr__
    assert attrs.fields_dict(cls)["extra"].repr is not True


def test_unknown_fields_do_not_show() -> None:
    """What is kept of unknown fields may be personal, and is not in the repr."""

    @attrs.frozen(kw_only=True)
    class Thing(Model):
        name: str | None = None

    assert "planted" not in repr(Thing(extra={"x": "planted"}))
    assert repr(Thing(name="a")).endswith("Thing(extra={}, name='a')")
    assert issubclass(TaskStatus, OpenEnum)
