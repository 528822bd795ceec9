"""The one converter between models and JSON.

Reading goes bytes → plain values → model. The step to the model is done by msgspec, which is strict and fast; what
it refuses is given to the cattrs converter (`converting.converter`), which is as strict, and lists every fault with its
path instead of the first. Before that step, `shapes.fold` moves the fields that a class does not name into its
``extra``, and the shapes that the document leaves open are brought to one.

Writing goes model → plain values → bytes. The first step is generated code, a function for each class: it leaves out
what is None, spells money as thousandths of a cent, and writes ``extra`` back.

Orders and tasks, which come and go by the thousand, have a faster way beside this general one: see `wires`.
"""

from gotsurge_async.codec.reading import decode, is_json, structure
from gotsurge_async.codec.receipts import decode_names, decode_receipts
from gotsurge_async.codec.writing import encode, encode_batch, encode_order, unstructure, unstructure_changes

__all__ = [
    "decode",
    "decode_names",
    "decode_receipts",
    "encode",
    "encode_batch",
    "encode_order",
    "is_json",
    "structure",
    "unstructure",
    "unstructure_changes",
]
