"""What a push keeps of the answers to its creates: a few fields of each task, and its JSON text."""

import msgspec

from gotsurge_async.errors import UnreadableAnswer
from gotsurge_async.models.tasks import Receipt, TaskStatus


class _Receipts(msgspec.Struct):
    tasks: list[Receipt]


class _RawTasks(msgspec.Struct):
    tasks: list[msgspec.Raw]


class _OpenAnswer(msgspec.Struct):
    tasks: msgspec.Raw


class _TaskHead(msgspec.Struct):
    id: str | None = None
    tracking_id: str | None = None
    invoice_number: str | None = None
    current_status: TaskStatus | None = None


_receipts = msgspec.json.Decoder(_Receipts)
_raw_tasks = msgspec.json.Decoder(_RawTasks)
_open_answer = msgspec.json.Decoder(_OpenAnswer)
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])
_raw_map = msgspec.json.Decoder(dict[str, msgspec.Raw])
_task_head = msgspec.json.Decoder(_TaskHead)


def decode_receipts(body: bytes) -> list[Receipt]:
    """Read the answer of a create into small receipts, in the order of the answer; each keeps its task's JSON text.

    Raises:
        UnreadableAnswer: no JSON, no ``tasks``, or a task without an id.
    """
    try:
        # The usual answer, a list of tasks: read twice by two decoders, which costs less than a call for each task.
        receipts = _receipts.decode(body).tasks
        raws = _raw_tasks.decode(body).tasks
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _open_receipts(body)
    for receipt, raw in zip(receipts, raws, strict=True):
        if not receipt.id:
            return _open_receipts(body)
        object.__setattr__(receipt, "raw", bytes(raw))
    return receipts


def _open_receipts(body: bytes) -> list[Receipt]:
    """The same for every shape that ``tasks`` may have; says what is wrong with the others."""
    try:
        tasks = _open_answer.decode(body).tasks
        if _starts_with(tasks, b"{"):
            keyed = _raw_map.decode(tasks)
            if "id" in keyed and _starts_with(keyed["id"], b'"'):
                return [_receipt(tasks)]
            return [_receipt(raw, task_id) for task_id, raw in keyed.items()]
        return [_receipt(raw) for raw in _raw_list.decode(tasks)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableAnswer(f"not the answer of a create: {error}") from None


def decode_names(order: bytes) -> tuple[str | None, str | None]:
    """The tracking id and the invoice number of an order that is JSON text already."""
    head = _task_head.decode(order)
    return head.tracking_id, head.invoice_number


def _starts_with(raw: msgspec.Raw, start: bytes) -> bool:
    return memoryview(raw)[:1] == start


def _receipt(raw: msgspec.Raw, key: str | None = None) -> Receipt:
    head = _task_head.decode(raw)
    if not head.id and key:
        return _receipt(msgspec.Raw(msgspec.json.encode(msgspec.json.decode(raw) | {"id": key})))
    if not head.id:
        raise UnreadableAnswer("not the answer of a create: a task without an id")
    return Receipt(
        id=head.id,
        tracking_id=head.tracking_id,
        invoice_number=head.invoice_number,
        current_status=head.current_status,
        raw=bytes(raw),
    )
