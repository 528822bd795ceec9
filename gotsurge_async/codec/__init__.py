"""Models and JSON: one codec, made of cattrs hooks.

`converters` has the two converters: one reads answers tolerantly, the other checks users' values strictly, and writes.
`given` makes objects of a program's values. `text` reads and writes JSON. `compiled` makes the hooks fast.
"""

from gotsurge_async.codec.converters import checking
from gotsurge_async.codec.text import (
    Codec,
    decode,
    decode_names,
    decode_names_of_batch,
    decode_plain,
    encode,
    encode_batch,
    encode_order,
    is_json,
    joined_in,
    parse,
    structure,
    unreadable,
    unstructure,
    unstructure_changes,
)

__all__ = [
    "Codec",
    "checking",
    "decode",
    "decode_names",
    "decode_names_of_batch",
    "decode_plain",
    "encode",
    "encode_batch",
    "encode_order",
    "is_json",
    "joined_in",
    "parse",
    "structure",
    "unreadable",
    "unstructure",
    "unstructure_changes",
]
