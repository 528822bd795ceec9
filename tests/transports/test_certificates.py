"""TLS of a command, whose certificates are read at the first connection."""

import asyncio
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from gotsurge_async.testing.peers import OK, peer
from gotsurge_async.testing.transport_suite import says
from gotsurge_async.transports.certificates import certificates_when_needed

COMMAND = """
import asyncio, sys
from gotsurge_async.cli.app import load
load("push")
import aiohttp
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import Request

async def send():
    transport = AiohttpTransport()
    for _ in range(2):
        print((await transport.send(Request(method="GET", url=sys.argv[1], headers={}, body=None))).status)
    await transport.close()

for context in (aiohttp.connector._SSL_CONTEXT_VERIFIED, aiohttp.connector._SSL_CONTEXT_UNVERIFIED):
    print(context.cert_store_stats()["x509"])
asyncio.run(send())
"""
"""What a command loads, then two requests over connections of their own."""


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_command_checks_servers_with_the_systems_certificates(tmp_path: Path, *, trusted: bool) -> None:
    """None are read before a connection needs them; then a server passes only if one of them is its authority."""
    authority, theirs = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(tmp_path / "system.pem")
    async with peer(says(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")), ssl=theirs) as serving:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", COMMAND, serving.url.replace("http", "https")),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"SSL_CERT_FILE": str(tmp_path / "system.pem")},
        )
        printed, errors = await process.communicate()
    assert printed.split() == ([b"0", b"0", b"200", b"200"] if trusted else [b"0", b"0"]), errors
    assert trusted or b"NothingSent" in errors
    assert trusted or b"certificate" in errors
    assert len(serving.requests) == (2 if trusted else 0)


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the system's only certificate, which is not there yet."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    return tmp_path / "system.pem"


def test_certificates_that_could_not_be_read_are_read_by_the_next_connection(system: Path) -> None:
    """A connection that finds no certificates trusts no server, and leaves the context as it was."""
    with certificates_when_needed():
        context = ssl.create_default_context()
    for expected in (0, 1, 1):
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="127.0.0.1")
        assert context.cert_store_stats()["x509"] == expected
        trustme.CA().cert_pem.write_to_path(system)


def test_files_for_a_context_that_verifies_servers_are_read_immediately(system: Path) -> None:
    """Only where certificates are not used, as in a context that verifies nothing, can their files wait."""
    trustme.CA().cert_pem.write_to_path(system)
    found = list[int]()
    with certificates_when_needed():
        for verify in (ssl.CERT_REQUIRED, ssl.CERT_NONE):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = verify
            context.set_default_verify_paths()
            found.append(context.cert_store_stats()["x509"])
    context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="127.0.0.1")
    assert [*found, context.cert_store_stats()["x509"]] == [1, 0, 1]


def test_another_class_of_contexts_reads_them_immediately(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a program put a class of its own in the place of SSLContext, as truststore does, it works as before."""

    class Theirs:
        __class__ = property(lambda self: type(self))  # type: ignore[assignment]
        reads = 0

        def load_default_certs(self) -> None:
            raise NotImplementedError

        def set_default_verify_paths(self) -> None:
            self.reads += 1

    monkeypatch.setattr(ssl, "SSLContext", Theirs)
    with certificates_when_needed():
        context = Theirs()
        context.load_default_certs()
    assert context.reads == 1
