"""Who posts, behind proxies or not, and who may.

Behind a proxy the peer is the proxy, and ``X-Forwarded-For`` says for whom it speaks. Everybody can send that header,
so it is read from the right: each proxy writes there who came to it, and only what a trusted one wrote counts.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gotsurge_async.errors import ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNIX = "unix"
"""Stands for a peer without an address: a proxy on this machine, over a socket of its file system."""


class AllowList:
    """Addresses that may post; everybody may where none is given.

    Args:
        allow: addresses and networks, such as ``203.0.113.7`` or ``203.0.113.0/24``.
        trusted_proxies: the same, of proxies whose ``X-Forwarded-For`` is believed; ``unix`` for one behind a socket
            of the file system.

    Raises:
        ConfigError: one of them is no address and no network.
    """

    def __init__(self, allow: Iterable[str] | None = None, trusted_proxies: Iterable[str] = ()) -> None:
        proxies = list(trusted_proxies)
        self._allow: list[Network] | None = None if allow is None else [_network(each) for each in allow]
        self._trusted = [_network(each) for each in proxies if each != UNIX]
        self._unix = UNIX in proxies

    def admits(self, peer: str | None, forwarded: Sequence[str] = (), *, rewritten: bool = False) -> bool:
        """Whether who posts may.

        Args:
            peer: the address of whoever is connected; None over a socket of the file system.
            forwarded: the values of ``X-Forwarded-For``, in their order.
            rewritten: the server has put the address there that a proxy named, and so trusts that proxy.
        """
        if self._allow is None:
            return True
        who = self._who(peer, forwarded, rewritten)
        return who is not None and _in(who, self._allow)

    def _who(self, peer: str | None, forwarded: Sequence[str], rewritten: bool) -> Address | None:
        """The first address from the right that is of no trusted proxy; None if that is none."""
        who = _address(peer) if peer else None
        if rewritten and forwarded:
            who = None  # it may be the leftmost, which anybody can write: what the trusted proxy wrote is the rightmost
        elif who is None and not (self._unix and not peer):
            return None
        elif who is not None and not _in(who, self._trusted):
            return who
        for text in reversed([each.strip() for value in forwarded for each in value.split(",")]):
            who = _address(text)
            if who is None or not _in(who, self._trusted):
                return who
        return who


def _in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _address(text: str) -> Address | None:
    """An address as a server or a proxy writes it: also with a port, in brackets, or an IPv4 one as IPv6."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _network(text: str) -> Network:
    try:
        found = ip_network(text.strip(), strict=False)
    except ValueError:
        raise ConfigError(f"{text!r} is no address and no network, such as 203.0.113.7 or 203.0.113.0/24") from None
    if isinstance(found, IPv6Network) and found.network_address.ipv4_mapped and found.prefixlen >= 96:
        return ip_network(f"{found.network_address.ipv4_mapped}/{found.prefixlen - 96}")
    return found
