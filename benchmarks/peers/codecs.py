"""Encode and decode alone, ours and the peers', over the same orders and answers."""

from collections.abc import Sequence
from typing import Any

import orjson

from benchmarks import orders
from benchmarks.work import Work, chunks
from gotsurge_async import Order, codec
from gotsurge_async.models.answers import CreatedTasks


class Codec(Work):
    """Each part is 20 orders, or the answer for them."""

    async def open(self) -> None:
        self._codec = codec.Codec()  # as a session has one
        self._parts = [self.part(chunk) for chunk in chunks(orders.dicts(self.setting.count))]

    def part(self, chunk: Sequence[dict[str, Any]]) -> Any:
        """What is encoded or decoded."""
        return chunk

    def do(self, part: Any) -> int:
        """Encode or decode a part; gives the number of its orders."""
        raise NotImplementedError

    async def run(self) -> int:
        return sum(self.do(part) for part in self._parts)


class EncodeDicts(Codec):
    """The baseline."""

    reads = "dicts"

    def do(self, part: Any) -> int:
        assert orjson.dumps({"tasks": part})
        return len(part)


class EncodeOurs(Codec):
    """As `gs.push` does it."""

    reads = "our objects, None left out"

    def part(self, chunk: Sequence[dict[str, Any]]) -> Any:
        return [codec.structure(task, Order) for task in chunk]

    def do(self, part: Any) -> int:
        assert codec.encode_batch([codec.encode(order) for order in part])
        return len(part)


class EncodeCattrs(EncodeOurs):
    """The stock orjson converter."""

    reads = "our objects, None left out at the top only"

    async def open(self) -> None:
        from benchmarks.peers.stock_cattrs import converter

        self._converter = converter()
        await super().open()

    def do(self, part: Any) -> int:
        plain = [{k: v for k, v in self._converter.unstructure(order).items() if v is not None} for order in part]
        assert self._converter.dumps({"tasks": plain})
        return len(part)


class EncodePydantic(Codec):
    """model_dump_json."""

    reads = "pydantic models, None left out"

    def part(self, chunk: Sequence[dict[str, Any]]) -> Any:
        from benchmarks.peers import pydantic_tasks as models

        return models.Batch(tasks=[models.Order.model_validate(task) for task in chunk])

    def do(self, part: Any) -> int:
        assert part.model_dump_json(exclude_none=True)
        return len(part.tasks)


class DecodeDicts(Codec):
    """The baseline."""

    reads = "dicts"

    def part(self, chunk: Sequence[dict[str, Any]]) -> Any:
        from benchmarks.server import Books

        return Books().create(orjson.dumps({"tasks": chunk}))

    def do(self, part: Any) -> int:
        return len(orjson.loads(part)["tasks"])


class DecodeReceipts(DecodeDicts):
    """As `gs.push` does it."""

    reads = "receipts, each task's bytes kept"

    def do(self, part: Any) -> int:
        return len(self._codec.decode_receipts(part))


class DecodeOurs(DecodeDicts):
    """As `gs.tasks.create` does it."""

    reads = "whole tasks as objects, unknown fields kept"

    def do(self, part: Any) -> int:
        return len(self._codec.decode(part, CreatedTasks).tasks)


class DecodeCattrs(DecodeDicts):
    """The stock orjson converter."""

    reads = "whole tasks as objects, unknown fields lost"

    async def open(self) -> None:
        from benchmarks.peers.stock_cattrs import converter

        self._converter = converter()
        await super().open()

    def do(self, part: Any) -> int:
        return len(self._converter.loads(part, CreatedTasks).tasks)


class DecodePydantic(DecodeDicts):
    """model_validate_json."""

    reads = "whole tasks as models, unknown fields kept"

    async def open(self) -> None:
        from benchmarks.peers import pydantic_tasks as models

        self._models: Any = self.answer(models)
        await super().open()

    def answer(self, models: Any) -> Any:
        """The model of the answer."""
        return models.Created

    def do(self, part: Any) -> int:
        return len(self._models.model_validate_json(part).tasks)


class DecodePydanticReceipts(DecodePydantic):
    """To the depth of receipts."""

    reads = "receipts"

    def answer(self, models: Any) -> Any:
        return models.Receipts
