"""`gotsurge_async.secrets`: hidden unless listed."""

import base64
import copy
import json
import pickle
import re
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gotsurge_async.secrets import Secret, as_secret, headers_for_log, url_for_log, without
from gotsurge_async.transports.base import Request, Response

PLANTED = "planted-s3cret"


def test_a_secret_never_shows_itself() -> None:
    """repr, str, format and a container's repr show a mask; only `reveal` gives the text."""
    secret = Secret(PLANTED)
    assert PLANTED not in f"{secret} {secret!r} {[secret]} {secret:}"
    assert secret.reveal() == PLANTED


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_copied_out(leak: object) -> None:
    """Pickling refuses, by an error that does not show the text either."""
    assert callable(leak)
    with pytest.raises(TypeError, match="cannot be pickled") as caught:
        leak(Secret(PLANTED))
    assert PLANTED not in str(caught.value)


@given(st.text(), st.text())
@example("\udcff", "\udcff")  # which cannot be encoded, as an environment variable of odd bytes gives
def test_secrets_compare_as_their_texts(left: str, right: str) -> None:
    """Two secrets are equal, and hash alike, exactly if their texts are; none equals a text."""
    assert (Secret(left) == Secret(right)) == (left == right)
    assert hash(Secret(left)) == hash(Secret(str(left)))
    assert Secret(left) != left
    assert bool(Secret(left)) == bool(left)


def test_as_secret_wraps_text_alone() -> None:
    """Text becomes a secret; a secret and None stay what they are."""
    secret = Secret("x")
    assert as_secret("x") == secret
    assert as_secret(secret) is secret
    assert as_secret(None) is None


LISTED = {
    *("accept", "cache-control", "content-encoding", "content-length", "content-type", "date", "etag", "retry-after"),
    *("server", "user-agent", "x-request-id", "request-id", "x-correlation-id"),
}


@given(st.text(st.characters(codec="ascii"), min_size=1))
def test_a_header_shows_only_if_it_is_listed(name: str) -> None:
    """Whatever a header is called, its value is hidden unless the name is on the list."""
    shown = headers_for_log({name: PLANTED})
    assert shown[name] == "***" or name.lower() in LISTED


def test_headers_are_listed_in_any_case() -> None:
    """Names are compared without regard to case, and the authorization is hidden."""
    shown = headers_for_log({"Content-Type": "a/b", "AUTHORIZATION": PLANTED, "Set-Cookie": PLANTED})
    assert shown == {"Content-Type": "a/b", "AUTHORIZATION": "***", "Set-Cookie": "***"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://app.gotsurge.co/partners/{PLANTED}?code={PLANTED}#{PLANTED}", "https://app.gotsurge.co"),
        (f"http://me:{PLANTED}@127.0.0.1:8080/x", "http://127.0.0.1:8080"),
        (f"http://[::1]:80/{PLANTED}", "http://[::1]:80"),
        (f"http://host:{PLANTED}/x", "***"),
        (f"http://[{PLANTED}/x", "***"),
    ],
)
def test_a_url_shows_no_more_than_its_host(url: str, shown: str) -> None:
    """Path, query, fragment and user are dropped; what is no URL is hidden whole."""
    assert url_for_log(url) == shown


def test_requests_and_responses_show_no_secret() -> None:
    """Neither repr holds a token, a path or a body."""
    request = Request(
        method="POST",
        url=f"https://a.example/{PLANTED}",
        headers={"Authorization": f"Bearer {PLANTED}", "Accept": "a/b"},
        body=PLANTED.encode(),
    )
    response = Response(status=200, headers={"set-cookie": PLANTED, "date": "now"}, body=PLANTED.encode())
    assert PLANTED not in f"{request!r} {response!r}"
    assert repr(request) == ("Request(POST https://a.example, {'Authorization': '***', 'Accept': 'a/b'}, 14 bytes)")
    assert repr(response) == "Response(200, {'set-cookie': '***', 'date': 'now'}, 14 bytes)"


QUOTED = {
    "plain": lambda text: text,
    "percent": lambda text: quote(text, safe=""),
    "json": lambda text: json.dumps(text).strip('"'),
    "json, slashes escaped": lambda text: json.dumps(text).replace("/", "\\/").strip('"'),
    "json, not ASCII": lambda text: json.dumps(text, ensure_ascii=False).strip('"'),
    "percent, small": lambda text: re.sub("%..", lambda code: code[0].lower(), quote(text, safe="")),
    "percent, in part": lambda text: text.replace("/", "%2F"),
    "json, all escaped": lambda text: "".join(f"\\u{ord(sign):04X}" for sign in text),
    "HTML": lambda text: "".join(f"&#{ord(sign)};" for sign in text.encode().decode()),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 with a key": lambda text: base64.b64encode(f"key:{text}".encode()).decode(),
    "base64 in the middle": lambda text: base64.urlsafe_b64encode(f"ab{text}cd".encode()).decode(),
}


@pytest.mark.parametrize("form", QUOTED)
@pytest.mark.parametrize(
    "text", ["planted-s3cret", "pla/nted+s3cret==", 'pla"nted\\s3cret', "plänted-s3cret-ÿ?>", "lone\udcff"]
)
def test_a_quoted_secret_is_hidden(form: str, text: str) -> None:
    """A secret is hidden in every way in which a service may quote it, but for a few bits at its ends."""
    try:
        quoted = QUOTED[form](text)
    except UnicodeEncodeError:
        quoted = text
    shown = without(f"bad {quoted}, sorry", [Secret("other"), Secret(text)])
    assert "***" in shown
    assert len(shown) <= len("bad ***, sorry") + 10


def test_a_short_secret_hides_no_other_text() -> None:
    """A piece of base64 that may be any text is not taken for a secret, and neither is an empty one."""
    assert without("YWI is a word", [Secret("ab"), Secret("")]) == "YWI is a word"
