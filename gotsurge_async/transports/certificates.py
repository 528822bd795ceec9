"""The system's certificates for TLS, read when the first connection needs them.

aiohttp makes a context as it is imported. To read its certificates is a tenth of what the start of a command costs, and
a command that talks to this machine needs none.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_read = ssl.SSLContext.load_default_certs


class _Unread(ssl.SSLContext):
    """A context that reads the system's certificates before its first connection; until then it trusts no server."""

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return _whole(self).wrap_bio(*args, **options)

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        return _whole(self).wrap_socket(*args, **options)


def _whole(context: ssl.SSLContext) -> ssl.SSLContext:
    _read(context)
    context.__class__ = ssl.SSLContext
    return context


@contextmanager
def certificates_when_needed() -> Iterator[None]:
    """Have contexts for clients that are made in the block read the system's certificates at their first connection."""

    def later(context: ssl.SSLContext, purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH) -> None:
        if type(context) is ssl.SSLContext and purpose is ssl.Purpose.SERVER_AUTH:
            context.__class__ = _Unread
        else:
            _read(context, purpose)

    ssl.SSLContext.load_default_certs = later  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        ssl.SSLContext.load_default_certs = _read  # type: ignore[method-assign]
