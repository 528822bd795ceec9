"""The system's certificates for TLS, read when the first connection needs them.

aiohttp makes two contexts as it is imported. To read their certificates takes 110 million instructions, a tenth of the
start of a command, and a command that talks to this machine needs none.
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

    read_files = ssl.SSLContext.set_default_verify_paths

    def later(context: ssl.SSLContext, purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH) -> None:
        if type(context) is ssl.SSLContext and purpose is ssl.Purpose.SERVER_AUTH:
            with suppress(AttributeError, TypeError):  # from a class in the place of SSLContext, such as truststore's
                context.__class__ = _Unread
                return
        _read(context, purpose)

    def files_later(self: ssl.SSLContext) -> None:
        with suppress(AttributeError, TypeError):
            if type(self) is ssl.SSLContext and not self.verify_mode:  # aiohttp's second context verifies nothing
                self.__class__ = _Unread
                return
        read_files(self)

    ssl.SSLContext.load_default_certs = later  # type: ignore[assignment, method-assign]
    ssl.SSLContext.set_default_verify_paths = files_later  # type: ignore[method-assign]
    try:
        yield
    finally:
        ssl.SSLContext.load_default_certs = _read  # type: ignore[method-assign]
        ssl.SSLContext.set_default_verify_paths = read_files  # type: ignore[method-assign]
