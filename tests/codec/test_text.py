"""`gotsurge_async.codec.text`: JSON text in and out."""

import json
from datetime import UTC, datetime
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.codec.text import MOST_LEARNED
from gotsurge_async.errors import UnreadableAnswer
from gotsurge_async.models.answers import CreatedTasks, Task
from gotsurge_async.models.auth import PartnerDetail, TokenAnswer
from gotsurge_async.models.base import Model
from gotsurge_async.models.places import TimeWindow
from gotsurge_async.models.platform import UpdatedTasks
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.money import Money
from tests.support.orders import NOW
from tests.support.strategies import MODELS, json_values, models


def read(body: bytes, cls: type[Any]) -> object:
    """What reading gives: an object, or the error."""
    try:
        return codec.decode(body, cls)
    except UnreadableAnswer as error:
        return error


def plain_decode(tree: Any, cls: type[Any]) -> Any:
    """What reading a tree gives."""
    return codec.decode(msgspec.json.encode(tree), cls)


TOLD = r"not JSON|the JSON is nested too deeply"

# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", MODELS)
def test_every_model_survives_json(cls: type[Model]) -> None:
    """An object of any class, with any unknown fields anywhere, is the same after JSON."""

    @settings(max_examples=12)
    @given(models(cls))
    def check(model: Model) -> None:
        assert codec.decode(codec.encode(model), cls) == model

    check()


@given(st.binary(max_size=60) | json_values.map(json.dumps).map(str.encode), st.sampled_from(MODELS))
def test_any_answer_gives_a_model_or_our_error(body: bytes, cls: type[Model]) -> None:
    """Whatever bytes or JSON a wrong service answers, reading it gives an object or an UnreadableAnswer."""
    assert isinstance(read(body, cls), cls | UnreadableAnswer)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        *((b"", "empty, not JSON"), (b" \n", "empty, not JSON"), (b'{"id":NaN}', "not JSON: invalid character")),
        (b"{", TOLD),
        (b"\xff\xfe", TOLD),
        (b'{"id": "a\xff"}', TOLD),
        (b"[" * 100_000, TOLD),
        (b'{"id":"a","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", TOLD),
        (b'{"id":"a","y":1e400,"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", TOLD),
        (b'{"id":"a","x":"\\ud800"', TOLD),
    ],
)
def test_what_nearly_is_json_is_refused(body: bytes, why: str) -> None:
    """Empty, half, endless or too deep: each is an UnreadableAnswer and no exception of a library."""
    with pytest.raises(UnreadableAnswer, match=why):
        codec.decode(body, Task)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"task"', b"5"])
def test_the_whole_is_an_object(body: bytes) -> None:
    """JSON that is no object is refused as a whole."""
    with pytest.raises(UnreadableAnswer) as caught:
        codec.decode(body, Task)
    assert [problem.path for problem in caught.value.problems] == [""]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T08:00:00+08:00", NOW),
        ("2026-01-01T00:00:00Z", NOW),
        ("2026-01-01T00:00:00.000000Z", NOW),
        ("2026-01-01T00:00:00", NOW),
        ("2026-01-01 00:00:00Z", NOW),
        ("2025-12-31T14:30:00.25-09:30", NOW.replace(microsecond=250_000)),
        ("2026-01-01T00:00:00.123456789Z", NOW.replace(microsecond=123_457)),
    ],
)
@pytest.mark.parametrize("odd", [{}, {"driver": 5}], ids=["usual", "odd"])
def test_times_are_read_in_any_zone_and_kept_in_utc(text: str, moment: datetime, odd: dict[str, Any]) -> None:
    """An offset is applied, a fraction kept to the microsecond, and a time without a zone taken for UTC."""
    task = plain_decode(
        {"id": "a", "server_time": text, "statuses": [{"status": "x", "updated_at": text}], **odd}, Task
    )
    window = plain_decode({"start_time_utc": text, "end_time_utc": text}, TimeWindow)
    times = [task.server_time, task.statuses[0].updated_at, window.start_time_utc, window.end_time_utc]
    assert times == [moment] * 4
    assert all(time is not None and time.tzinfo is UTC for time in times)


@pytest.mark.parametrize("odd", [{}, {"driver": 5}], ids=["usual", "odd"])
def test_money_takes_the_currency_beside_it(odd: dict[str, Any]) -> None:
    """Amounts are read in the task's currency; without one they keep none."""
    task = plain_decode({"id": "a", "price": 200000, "min_price": 150000, "currency": "SGD", **odd}, Task)
    assert (task.price, task.min_price) == (Money.of(2, "SGD"), Money.of("1.50", "SGD"))
    bare = plain_decode({"id": "a", "price": 200000, "currency": "", **odd}, Task)
    assert bare.price == Money(millicents=200_000, currency="")
    strange = plain_decode({"id": "a", "price": 200000, "currency": "s$", **odd}, Task)
    assert strange.price.currency == "s$"


def test_an_unknown_status_is_kept_as_text() -> None:
    """A value that the document does not list is kept, equals its text, and is written back."""
    task = codec.decode(b'{"id":"a","current_status":"lost_at_sea"}', Task)
    assert task.current_status == "lost_at_sea"
    assert isinstance(task.current_status, TaskStatus)
    assert not task.current_status.known
    assert not task.current_status.is_terminal
    assert codec.encode(task) == b'{"id":"a","current_status":"lost_at_sea"}'


def test_secrets_are_in_no_repr_and_no_reason() -> None:
    """An answer's secret is read and written, and shows in no repr; one that cannot be read is not shown either."""
    detail = codec.decode(b'{"id":"p","secret_key":"planted"}', PartnerDetail)
    assert detail.secret_key == "planted"
    odd = codec.decode(b'{"bearer_token":"planted","refresh_token":["planted"]}', TokenAnswer)
    assert codec.unreadable(odd) == {"refresh_token": "has the wrong type or content"}
    assert "planted" not in f"{detail!r} {odd!r} {codec.unreadable(odd)}"
    with pytest.raises(UnreadableAnswer) as caught:
        codec.decode(b'{"bearer_token":["planted"]}', TokenAnswer)
    assert "planted" not in f"{caught.value} {caught.value!r}"


# --- fields that nobody knows -----------------------------------------------------------------------------------------


def test_unknown_fields_are_kept_and_written_back() -> None:
    """What a class does not name stays where it was, also under the name of the place where it is kept."""
    body = b'{"id":"a","extra":{"id":1},"new":[1,null],"driver":{"name":"Ng","extra":null,"rank":2}}'
    reader = codec.Codec()
    for _ in range(2):
        task = reader.decode(body, Task)
        assert task.extra == {"extra": {"id": 1}, "new": [1, None]}
        assert task.driver is not None
        assert task.driver.extra == {"extra": None, "rank": 2}
        assert json.loads(codec.encode(task)) == json.loads(body)
        assert not codec.unreadable(task)


@pytest.mark.parametrize("tree", [{"id": "a"}, {"id": "a", "driver": 1}], ids=["usual", "odd"])
def test_unknown_fields_stand_in_one_order(tree: dict[str, Any]) -> None:
    """However they came, and whatever the hashes of this process, they are kept in the order of their names."""
    names = [f"new_{number}" for number in range(8)]
    reader = codec.Codec()
    for given_names in (names, names[::-1]):
        body = msgspec.json.encode(tree | dict.fromkeys(given_names, 1))
        for _ in range(2):
            assert [name for name in reader.decode(body, Task).extra if name != "driver"] == names


def test_fields_that_were_met_before_are_read_with_the_rest() -> None:
    """However the unknown fields of tasks come and go, also more of them than are learned, all are kept."""
    reader = codec.Codec()
    for number in range(MOST_LEARNED + 5):
        for extra in ({f"new-{number}": number}, {"new-0": None, "class": [1], 'quo"te': 1}, {}):
            body = msgspec.json.encode({"tasks": [{"id": "a", **extra}, {"id": "b"}], "note": extra})
            answer = reader.decode(body, CreatedTasks)
            assert ([task.extra for task in answer.tasks], answer.extra) == ([extra, {}], {"note": extra})


def test_what_one_codec_learned_no_other_knows() -> None:
    """Learned names belong to the codec that met them, and so to a session."""
    first, second = codec.Codec(), codec.Codec()
    shared = second.reading
    first.decode(b'{"id":"a","new":1}', Task)
    assert first.reading is not shared
    assert second.reading is shared
    codec.decode(b'{"id":"a","newer":1}', Task)
    assert codec.Codec().reading is shared


@settings(max_examples=60)
@given(st.sampled_from(MODELS), st.data())
def test_what_was_learned_changes_nothing(cls: type[Model], data: st.DataObject) -> None:
    """An answer is read the same before and after its unknown fields were learned."""
    body = codec.encode(data.draw(models(cls)))
    reader = codec.Codec()
    assert reader.decode(body, cls) == reader.decode(body, cls) == codec.decode(body, cls)


# --- shapes that the document leaves open -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "ids"),
    [
        ([{"id": "a"}, {"id": "b"}], ["a", "b"]),
        ({"a": {"tracking_id": "A"}, "b": {"id": "b"}}, ["a", "b"]),
        ({"a": {"id": None, "invoice_number": 5}, "b": {"current_status": "draft"}}, ["a"]),
        ({"A": {"tracking_id": "B"}, "B": {"tracking_id": "A"}, "c": {"tracking_id": "C"}}, ["c"]),
        ({"0": {"tracking_id": "A"}, "1": {"tracking_id": "B"}, "7f-1": {"tracking_id": "C"}}, ["7f-1"]),
        ({" ": {"tracking_id": "A"}, "b": {"tracking_id": "B"}, "count": {"n": 2}, "message": "x"}, ["b"]),
        ({"id": "a", "tracking_id": "A"}, ["a"]),
        ({"id": 5, "tracking_id": "A"}, ["5"]),
        ({"id": {"tracking_id": "A"}}, ["id"]),
        ([{"id": "a"}, None, {"id": None}, {"tracking_id": "B", "error": "bad"}, {"id": 1.5}, {"id": " "}], ["a"]),
        ([{"id": "a"}, {"id": "."}, {"id": ".."}], ["a"]),
        ([{"id": "b", "invoice_number": ["x"]}, {"id": "a", "price": "odd"}], ["a"]),
        ([{"id": 7}, {"id": 8}], ["7", "8"]),
        ({}, []),
        ([], []),
        (None, []),
    ],
)
def test_created_tasks_come_as_list_map_or_one(tasks: Any, ids: list[str]) -> None:
    """`tasks` is read from a list, an object keyed by id, or one task, in full and as receipts."""
    body = msgspec.json.encode({"tasks": tasks, "server_time": "2026-01-01T00:00:00Z"})
    assert [task.id for task in codec.decode(body, CreatedTasks).tasks] == ids
    if tasks is not None:
        assert [receipt.id for receipt in codec.Codec().decode_receipts(body)] == ids


@pytest.mark.parametrize(
    ("fields", "revision"),
    [
        ({"version_rev": "0-a"}, "0-a"),
        ({"_rev": "0-b"}, "0-b"),
        ({"rev": "0-c"}, "0-c"),
        ({"version_rev": "0-a", "_rev": "0-b"}, "0-a"),
        ({"_rev": "0-b", "rev": "0-c"}, "0-b"),
        ({"version_rev": {}, "_rev": "0-b"}, "0-b"),
        ({"_rev": 5}, "5"),
        ({"_rev": [5]}, None),
        ({}, None),
    ],
)
def test_a_revision_is_read_under_any_of_its_names(fields: dict[str, Any], revision: str | None) -> None:
    """`version_rev`, `_rev` and `rev` are one field, in this order, and each is written back under its own name."""
    reader = codec.Codec()
    for _ in range(2):
        task = reader.decode(msgspec.json.encode({"id": "a", **fields}), Task)
        assert task.version_rev == revision
        assert json.loads(codec.encode(task)) == {"id": "a", **fields}
    changed = json.loads(codec.encode(attrs.evolve(task, version_rev="0-new")))
    assert changed == {"id": "a", **fields, "version_rev": "0-new"}


def test_updated_tasks_may_be_ids() -> None:
    """`updated_tasks` is read from ids and from objects, mixed too, or from an object keyed by id."""
    updated = codec.decode(b'{"updated_tasks":["a",{"id":"b","tracking_id":"B"},3]}', UpdatedTasks).updated_tasks
    assert [(task.id, task.tracking_id) for task in updated] == [("a", None), ("b", "B"), ("3", None)]
    keyed = codec.decode(b'{"updated_tasks":{"a":{"current_status":"x"}}}', UpdatedTasks).updated_tasks
    assert [(task.id, task.current_status) for task in keyed] == [("a", "x")]


def test_null_lists_are_read_as_none() -> None:
    """A list that comes as null was not given."""
    task = codec.decode(b'{"id":"a","items":null,"statuses":null,"attachments":null}', Task)
    assert (task.items, task.statuses, task.attachments) == ((), (), ())
    assert codec.encode(task) == b'{"id":"a"}'


@pytest.mark.parametrize(
    ("odd", "kept"),
    [
        ("1e400", "1e400"),
        ("-1e400", "-1e400"),
        ("9" * 5000, "9" * 5000),
        ('"\\ud800"', "\\ud800"),
        ('"\\\\\\uDC00x\\n"', "\\\\uDC00x\n"),
        ('["\\ud83d\\ude00\\ud83d", 1, 2.5, "\\u0041"]', ["\U0001f600\\ud83d", 1, 2.5, "A"]),
    ],
)
def test_what_python_has_no_value_for_is_kept_as_text(odd: str, kept: Any) -> None:
    """A number out of bounds or half a character in any field costs no id, and can be written again."""
    body = f'{{"tasks":[{{"id":"a","tracking_id":"A","new":{odd},"price":{odd}}}]}}'.encode()
    (task,) = codec.decode(body, CreatedTasks).tasks
    (receipt,) = codec.Codec().decode_receipts(body)
    assert (task.id, receipt.id) == ("a", "a")
    assert task.extra["new"] == kept
    assert json.loads(codec.encode(task))["new"] == kept
    assert codec.decode(receipt.raw, Task) == task
    assert codec.is_json(body)
    assert codec.decode(b"\xef\xbb\xbf" + body, CreatedTasks).tasks == (task,)
