"""The system's certificates for TLS, read when the first connection needs them.

aiohttp makes a context as it is imported. To read its certificates is a tenth of what the start of a command costs, and
a command that talks to this machine needs none.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_read = ssl.SSLContext.load_default_certs


class _Unread(ssl.SSLContext):
    """A context that reads the system's certificates before its first connection; until then it trusts no server."""

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        _fill(self)
        return ssl.SSLContext.wrap_bio(self, *args, **options)

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        _fill(self)
        return ssl.SSLContext.wrap_socket(self, *args, **options)


def _fill(context: ssl.SSLContext) -> None:
    _read(context)
    if context.cert_store_stats()[
        "x509"
    ]:  # else its files could perhaps not be opened: the next connection tries again
        context.__class__ = ssl.SSLContext


@contextmanager
def certificates_when_needed() -> Iterator[None]:
    """Have contexts for clients that are made in the block read the system's certificates at their first connection."""

    def later(context: ssl.SSLContext, purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH) -> None:
        if type(context) is ssl.SSLContext and purpose is ssl.Purpose.SERVER_AUTH:
            with suppress(AttributeError, TypeError):  # from a class in the place of SSLContext, such as truststore's
                context.__class__ = _Unread
                return
        _read(context, purpose)

    ssl.SSLContext.load_default_certs = later  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        ssl.SSLContext.load_default_certs = _read  # type: ignore[method-assign]
