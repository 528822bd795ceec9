"""A faked aiohttp for the tests of the transport's mapping; what lies below it is tested on real sockets."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses


class Answer(aiohttp.ClientResponse):
    """aioresponses 0.7.9 makes answers without the stream writer that aiohttp 3.14 asks for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"stream_writer": Mock(output_size=0), **options})


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """Answers for the requests of any aiohttp session."""
    monkeypatch.setattr("aioresponses.core.ClientResponse", Answer)
    with aioresponses() as faked:
        yield faked
