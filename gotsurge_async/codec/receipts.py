"""What a push keeps of the answers to its creates: a few fields of each task, and its JSON text."""

import re
from typing import Any

import msgspec

from gotsurge_async.codec.wires import open_twin
from gotsurge_async.errors import UnreadableAnswer
from gotsurge_async.models.tasks import Receipt, TaskStatus


class _RawTasks(msgspec.Struct):
    tasks: list[msgspec.Raw]


class _OpenAnswer(msgspec.Struct):
    tasks: msgspec.Raw


class _TaskHead(msgspec.Struct, gc=False):
    id: str | None = None
    tracking_id: str | None = None
    invoice_number: str | None = None
    current_status: TaskStatus | None = None


class _TaskHeads(msgspec.Struct):
    tasks: list[_TaskHead]


_task_heads = msgspec.json.Decoder(_TaskHeads)
_raw_tasks = msgspec.json.Decoder(_RawTasks)
_open_answer = msgspec.json.Decoder(_OpenAnswer)
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])
_raw_map = msgspec.json.Decoder(dict[str, msgspec.Raw])
_task_head = msgspec.json.Decoder(_TaskHead)
_names_first = re.compile(rb'\{"tracking_id":"([^"\\]+)","invoice_number":"([^"\\]+)"').match
"""As `encode` writes most orders: the names stand first, and the rest need not be looked at."""
_OpenReceipt: Any = open_twin(Receipt)


def decode_receipts(body: bytes) -> list[Receipt]:
    """Read the answer of a create into small receipts, in the order of the answer; each keeps its task's JSON text.

    Raises:
        UnreadableAnswer: no JSON, no ``tasks``, or a task without an id.
    """
    try:
        heads = _task_heads.decode(body).tasks  # the usual answer, a list of tasks
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _open_receipts(body)
    text = _Texts(body).text
    receipts: list[Receipt] = []
    for head in heads:
        if not head.id:
            return _open_receipts(body)
        receipt = _OpenReceipt.__new__(_OpenReceipt)
        receipt.id = head.id
        receipt.tracking_id = head.tracking_id
        receipt.invoice_number = head.invoice_number
        receipt.current_status = head.current_status
        receipt._raw = (text, len(receipts))
        receipt.__class__ = Receipt
        receipts.append(receipt)
    return receipts


class _Texts:
    """The texts of an answer's tasks. They are found when the first is asked for: to look for them takes a pass."""

    __slots__ = ("_body", "_tasks")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._tasks: list[msgspec.Raw] | None = None

    def text(self, number: int) -> bytes:
        if self._tasks is None:
            self._tasks = _raw_tasks.decode(self._body).tasks
        return bytes(self._tasks[number])


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
    found = _names_first(order)
    if found is not None:
        return found[1].decode(), found[2].decode()
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
