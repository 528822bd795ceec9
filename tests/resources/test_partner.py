import base64
import logging
from urllib.parse import unquote

import pytest

from gotsurge_async import ConfigError, Credentials, NotFound, Rejected, SignatureForm, UsageError
from tests.support.clients import CREDENTIALS, client
from tests.support.orders import answer

PLAIN = b"a-client-key:a~~secret??key"
DETAIL = answer({"id": "p", "client_key": "a-client-key", "secret_key": "a~~secret??key", "name": "P"})


@pytest.mark.parametrize(
    ("form", "signature"),
    [
        ("base64", base64.b64encode(PLAIN).decode()),
        ("base64url", base64.urlsafe_b64encode(PLAIN).decode()),
        ("hex", base64.b64encode(PLAIN).hex()),
    ],
)
async def test_each_form_of_the_signature(form: SignatureForm, signature: str) -> None:
    """The signature is one segment of the path, percent-encoded, and the call carries no bearer token."""
    async with client([DETAIL]) as (gs, transport):
        detail = await gs.partner.detail(signature=form)
    request = transport.sent[0]
    segment = request.url.rpartition("/partners/")[2]
    assert unquote(segment) == signature
    assert not set("/+=?") & set(segment)
    assert "Authorization" not in request.headers
    assert detail.secret_key == "a~~secret??key"


async def test_secrets_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the record's repr, nor a log line, nor an error that quotes the path shows secret or signature."""
    caplog.set_level(logging.DEBUG)
    signature = base64.b64encode(PLAIN).decode()
    quoted = f"Cannot GET /partners/{signature} (/partners/{signature.replace('=', '%3D').replace('/', '%2F')})"
    async with client([DETAIL, answer({"message": quoted}, 404)]) as (gs, _):
        detail = await gs.partner.detail()
        with pytest.raises(NotFound) as caught:
            await gs.partner.detail()
    for text in (repr(detail), caplog.text, str(caught.value), repr(vars(caught.value))):
        assert "secret" not in text.replace("secret_key", "")
        assert signature.rstrip("=") not in text
    assert "Cannot GET /partners/***" in str(caught.value)


async def test_without_a_secret_key() -> None:
    """A client without credentials, or without the secret key, says which variables are missing."""
    for credentials in (None, Credentials(client_key="a-client-key")):
        async with client([], credentials) as (gs, _):
            with pytest.raises(ConfigError, match="GOTSURGE_SECRET_KEY"):
                await gs.partner.detail()


async def test_a_form_that_is_none() -> None:
    """Another form of signature is refused, and nothing is sent."""
    async with client([]) as (gs, transport):
        with pytest.raises(UsageError, match="base64, base64url or hex"):
            await gs.partner.detail(signature="rot13")  # type: ignore[arg-type]
        assert transport.sent == []


async def test_a_signature_that_nobody_knows() -> None:
    """A refusal is one of the errors that say what the service said."""
    async with client([answer({"message": "who is that"}, 401)], CREDENTIALS) as (gs, transport):
        with pytest.raises(Rejected, match="who is that"):
            await gs.partner.detail()
        assert len(transport.sent) == 1
