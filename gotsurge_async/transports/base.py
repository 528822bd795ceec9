"""The transport protocol: bytes out, bytes in, and the certain facts after a failure."""

import zlib
from collections.abc import AsyncIterable, Mapping
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import attrs

from gotsurge_async.errors import Coded
from gotsurge_async.secrets import headers_for_log, url_for_log

__all__ = ["MAX_ANSWER", "MaybeSent", "NothingSent", "Request", "Response", "Transport", "TransportError", "read_all"]

MAX_ANSWER = 64 * 1024 * 1024
"""The largest answer that is read, in bytes as unpacked; a page of 200 tasks is about half a million."""


@attrs.frozen(kw_only=True, repr=False)
class Request:
    """One HTTP request. Its repr shows no path, no secret header and no body."""

    method: str
    url: str
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes | None = None

    def __repr__(self) -> str:
        size = 0 if self.body is None else len(self.body)
        return f"Request({self.method} {url_for_log(self.url)}, {headers_for_log(self.headers)}, {size} bytes)"


def _lower_case(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@attrs.frozen(kw_only=True, repr=False)
class Response:
    """One whole HTTP answer, of any status.

    ``headers`` has lower-case names, however they were given; of a name that comes twice, the last.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(default=MappingProxyType({}), converter=_lower_case)
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Response({self.status}, {headers_for_log(self.headers)}, {len(self.body)} bytes)"


class TransportError(Exception):
    """No answer came, as a `NothingSent` or `MaybeSent`. ``reason`` is text for people, without a secret."""

    def __init__(self, reason: str = "", explain_code: str | None = None) -> None:
        super().__init__(Coded(reason, explain_code))
        self.reason = reason


class NothingSent(TransportError):
    """Certainly never processed: there was no connection to send the request on."""


class MaybeSent(TransportError):
    """The request, or a part of it, may have left: it may have been processed, or may be processed later."""


@runtime_checkable
class Transport(Protocol):
    """Sends requests.

    A transport neither retries, nor authenticates, nor decodes. ``send`` returns every whole answer, whatever its
    status, and raises `NothingSent` or `MaybeSent` otherwise, and no exception of the library below. When it is
    cancelled the request may have been processed: the caller treats that as `MaybeSent`.
    """

    async def send(self, request: Request) -> Response:
        """Send one request and read its answer to the end."""
        ...

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        ...


async def read_all(parts: AsyncIterable[bytes], encoding: str = "") -> bytes:
    """The body of an answer from its parts.

    Args:
        parts: as they came, before they were unpacked: one part may unpack to a thousand times its size.
        encoding: the header Content-Encoding: gzip, deflate, or nothing.

    Raises:
        MaybeSent: it is larger than `MAX_ANSWER`, of which no more is read; or it cannot be unpacked.
    """
    packing = encoding.strip().lower()
    if packing not in ("", "identity", "gzip", "deflate"):
        raise MaybeSent(f"the answer is compressed as {encoding:.60}, but only gzip and deflate can be read")
    unpacking = None if packing in ("", "identity") else zlib.decompressobj(zlib.MAX_WBITS | 32)
    read, size = [], 0
    try:
        async for part in parts:
            read.append(unpacking.decompress(part, MAX_ANSWER + 1 - size) if unpacking else part)
            size += len(read[-1])
            if size > MAX_ANSWER:
                raise MaybeSent(f"the answer is larger than {MAX_ANSWER} bytes")
    except zlib.error:
        raise MaybeSent("the answer cannot be decompressed") from None
    if unpacking and not unpacking.eof:
        raise MaybeSent("the answer was cut off")
    return read[0] if len(read) == 1 else b"".join(read)
