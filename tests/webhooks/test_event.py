"""What bodies of events say, however they are written."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.webhooks.event import DEEPEST, LARGEST, MalformedEvent, read_event
from tests.webhooks.kit import TASK, event


def body(**tree: Any) -> bytes:
    return json.dumps(tree).encode()


def test_an_event_as_the_document_has_it() -> None:
    """Type, model, task, status, names and time are read."""
    found = read_event(event(status="accepted", tracking_id="T-1", invoice_number="I-1", group_tag="G-1"))
    assert (found.type, found.model_name, found.task_id, found.status) == ("update", "Task", TASK, "accepted")
    assert (found.tracking_id, found.invoice_number, found.group_tag) == ("T-1", "I-1", "G-1")
    assert found.timestamp is not None
    assert found.timestamp.isoformat() == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "text",
    [
        body(data={"id": TASK}),
        body(data={"task_id": TASK}),
        body(data={"task": {"id": TASK}}),
        body(updates={"id": TASK}),
        body(id=TASK),
        body(model_name="task", data={"id": TASK, "items": [None, {}, []]}),
        body(model_name=None, data={"id": TASK}, updates=[]),
        body(data={"id": TASK}, updates=None, timestamp="no time"),
        body(data={"id": TASK}, timestamp=1767225600),
        json.dumps([{"data": {"id": TASK}}]).encode(),
        b"\xef\xbb\xbf" + body(data={"id": TASK}),
        gzip.compress(body(data={"id": TASK}), mtime=0),
        b"  \n" + body(data={"id": TASK}) + b"\n",
        body(data={"id": TASK, "price": 10**30, "text": "\ud800"}),
    ],
)
def test_odd_bodies_that_name_a_task(text: bytes) -> None:
    """Wherever the id stands, and whatever stands beside it, the task is found."""
    assert read_event(text).task_id == TASK


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "empty"),
        (b"hello", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"data": ', "not JSON"),
        (b"17", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (json.dumps([{"data": {"id": "a"}}, {"data": {"id": "b"}}]).encode(), "not a JSON object"),
        (b"\x1f\x8bnot gzip", "decompressed"),
        (gzip.compress(b" " * 2 * LARGEST, mtime=0), "longer"),
        (b" " * (LARGEST + 1), "longer"),
        (body(data={"id": None}), "names no task"),
        (body(data={"id": ""}), "names no task"),
        (body(data={"id": True}), "names no task"),
        (body(data={"id": "a\x00b"}), "names no task"),
        (body(data={"id": "x" * 500}), "names no task"),
        (body(data=[{"id": TASK}]), "names no task"),
    ],
    ids=range(16),
)
def test_what_is_no_event(text: bytes, why: str) -> None:
    """It is said why, without a word of the body."""
    with pytest.raises(MalformedEvent, match=why):
        read_event(text)


@pytest.mark.parametrize("levels", [DEEPEST + 1, 1000, 10_000, 100_000])
@pytest.mark.parametrize("kind", ["lists", "objects"])
def test_depth_is_limited(levels: int, kind: str) -> None:
    """A body that is nested too deeply is malformed, and does no harm."""
    inner = b"[" * levels + b"]" * levels if kind == "lists" else b'{"a":' * levels + b"1" + b"}" * levels
    if len(inner) > LARGEST:
        return
    with pytest.raises(MalformedEvent, match="nested more than"):
        read_event(b'{"data": {"id": "x", "a": ' + inner + b"}}")


def test_many_objects_beside_each_other_are_not_deep() -> None:
    """A wide body is an ordinary one."""
    assert read_event(body(data={"id": TASK, "items": [{"a": [1]}] * 500})).task_id == TASK


def test_another_model_is_of_no_task() -> None:
    """An event about something else names no task, whatever ids it has."""
    assert read_event(body(model_name="Organization", data={"id": TASK})).task_id is None


def test_the_status_of_updates_goes_before() -> None:
    """What changed counts more than what was there."""
    text = body(data={"id": TASK, "current_status": "broadcasting"}, updates={"current_status": "accepted"})
    assert read_event(text).status == "accepted"


NAMES = st.sampled_from(["id", "data", "updates", "task", "model_name"])
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
    max_leaves=20,
)


@given(st.binary() | trees.map(lambda tree: json.dumps(tree).encode()))
def test_no_body_does_harm(text: bytes) -> None:
    """Any bytes are an event or malformed, and nothing else."""
    try:
        found = read_event(text)
    except MalformedEvent:
        return
    assert found.task_id is None or (0 < len(found.task_id) <= 200 and "\x00" not in found.task_id)
