"""Who posts, behind proxies or not."""

import pytest

from gotsurge_async.errors import ConfigError
from gotsurge_async.webhooks.receive import AllowList, Source

GOTSURGE, OTHER, PROXY, INNER = "203.0.113.7", "198.51.100.9", "10.0.0.1", "10.0.0.2"


@pytest.mark.parametrize(
    ("peer", "forwarded", "may"),
    [
        (GOTSURGE, (), True),
        ("::ffff:203.0.113.7", (), True),
        (OTHER, (), False),
        (None, (), False),
        ("", (), False),
        ("no address", (), False),
        # Who is no proxy of ours says nothing by the header.
        (OTHER, (GOTSURGE,), False),
        (GOTSURGE, (OTHER,), True),
        # Behind the proxy the rightmost counts, which it wrote itself.
        (PROXY, (GOTSURGE,), True),
        (PROXY, (f"{OTHER}, {GOTSURGE}",), True),
        (PROXY, (f"{GOTSURGE}, {OTHER}",), False),
        (PROXY, (GOTSURGE, OTHER), False),
        (PROXY, (OTHER, GOTSURGE), True),
        (PROXY, (f"{GOTSURGE}, {INNER}",), True),
        (PROXY, (f"{OTHER}, {INNER}, {INNER}",), False),
        (PROXY, (f"{GOTSURGE}:4711",), True),
        (PROXY, (f"[::ffff:{GOTSURGE}]:4711",), True),
        (PROXY, (f"{GOTSURGE}, unknown",), False),
        (PROXY, (f"{GOTSURGE},",), False),
        (PROXY, ("",), False),
        (PROXY, (), False),
        (f"::ffff:{PROXY}", (GOTSURGE,), True),
    ],
)
def test_who_may(peer: str | None, forwarded: tuple[str, ...], may: bool) -> None:
    """Only who comes from an allowed address may, as a trusted proxy says."""
    assert AllowList([GOTSURGE], ["10.0.0.0/24"]).admits(Source(peer, forwarded)) is may


@pytest.mark.parametrize(
    ("peer", "forwarded", "may"),
    [
        (GOTSURGE, (GOTSURGE,), True),
        (GOTSURGE, (f"{GOTSURGE}, {OTHER}",), False),  # uvicorn believed everybody, and took the leftmost
        (OTHER, (f"{OTHER}, {GOTSURGE}",), True),
        (OTHER, (f"{GOTSURGE}, {INNER}",), True),
        (GOTSURGE, (), True),
    ],
)
def test_what_the_server_rewrote(peer: str, forwarded: tuple[str, ...], may: bool) -> None:
    """Where the server put a forwarded address in the peer's place, the rightmost that is no proxy counts."""
    assert AllowList([GOTSURGE], ["10.0.0.0/24"]).admits(Source(peer, forwarded, rewritten=True)) is may


def test_a_socket_of_the_file_system() -> None:
    """A peer without an address is a proxy only where that was said."""
    assert AllowList([GOTSURGE], ["unix"]).admits(Source(None, (GOTSURGE,)))
    assert not AllowList([GOTSURGE], ["unix"]).admits(Source(None, (OTHER,)))
    assert not AllowList([GOTSURGE], [PROXY]).admits(Source(None, (GOTSURGE,)))


def test_networks_of_both_kinds() -> None:
    """IPv6 networks, and IPv4 ones written as IPv6."""
    allowed = AllowList(["2001:db8::/32", "::ffff:203.0.113.0/120", "192.0.2.1/24"])
    assert allowed.admits(Source("2001:db8::7"))
    assert allowed.admits(Source("203.0.113.200"))
    assert allowed.admits(Source("192.0.2.200"))
    assert allowed.admits(Source("fe80::1%eth0")) is False


def test_without_a_list_everybody_may() -> None:
    """The token is the secret; the list comes beside it."""
    assert AllowList().admits(Source(OTHER))
    assert AllowList().admits(Source(None))


@pytest.mark.parametrize("text", ["gotsurge.co", "1.2.3", "1.2.3.4/40", ""])
def test_what_is_no_address(text: str) -> None:
    """A name is no address: it is said at once."""
    with pytest.raises(ConfigError, match="neither an address"):
        AllowList([text])
