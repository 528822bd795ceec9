"""The keys that went through one stream, remembered in few bytes each."""

from array import array
from hashlib import blake2b

_SHARD = 0xFFFF
"""The bits of a digest that choose its array: of a million keys each has 15, which are searched as quickly as a digest
is made."""


class KeysSeen:
    """Remembers keys by digests of 8 bytes, in arrays that are chosen by two bytes of the digest.

    A million keys take 20 MB, 4 million 45 MB: 8.3 bytes for each further key, after 12 MB for the arrays. A Python set
    takes about 80 bytes for each key. Two different keys have one digest about once in 37 million streams of a
    million keys: then the second counts as seen.
    """

    def __init__(self) -> None:
        self._shards: dict[int, array[int]] = {}

    def add(self, key: str) -> bool:
        """Remember a key; False if it was seen before."""
        digest = int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        shard = self._shards.get(digest & _SHARD)
        if shard is None:
            self._shards[digest & _SHARD] = array("Q", (digest,))
            return True
        if digest in shard:
            return False
        shard.append(digest)
        return True
