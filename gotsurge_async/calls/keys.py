"""The keys that went through one stream, remembered in few bytes each."""

import sys
from array import array
from hashlib import blake2b

_SHARDS = 0xFFFF
"""One less than the number of shards: with a million keys a shard has 15, and a search takes less than the digest."""


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
        shard = self._shards.get(digest & _SHARDS)
        if shard is None:
            self._shards[digest & _SHARDS] = array("Q", (digest,))
            return True
        if digest in shard:
            return False
        shard.append(digest)
        return True

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return sys.getsizeof(self._shards) + sum(map(sys.getsizeof, self._shards.values()))
