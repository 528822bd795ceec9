"""Receives events: it checks the sender, stores the body, and answers (section "Webhook"), without a web framework.

`gotsurge_async.webhooks.web.aiohttp` and `gotsurge_async.webhooks.web.asgi` serve it. GotSurge signs nothing and sends
no token, so the path is the secret: ``/webhooks/TOKEN``. An event is answered 200 when it is durable, and not before;
it is processed afterwards.
"""

import asyncio
import hashlib
import logging
import re
import weakref
from collections.abc import Iterable, Mapping, Sequence
from hmac import compare_digest
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, Protocol, TypeAlias

from msgspec import Struct, field

from gotsurge_async.clock import Clock, SystemClock
from gotsurge_async.errors import ConfigError
from gotsurge_async.secrets import Secret, as_secret, without
from gotsurge_async.webhooks.event import LARGEST
from gotsurge_async.webhooks.inbox import Inbox
from gotsurge_async.webhooks.room import InboxFull
from gotsurge_async.webhooks.store import StoreError

log: logging.Logger = logging.getLogger(__name__)

RATE = 2000.0
"""Events a second that are accepted, on average."""
BURST_SECONDS = 10.0
"""The seconds whose events may come all at once."""
BODY_SECONDS = 10.0
"""Seconds that a body may take to arrive."""
LOG_EVERY = 60.0
"""Seconds between two log lines with a cause that strangers can bring about: a log fills a disk, too."""

UNIX = "unix"
"""The name of a peer without an address: a proxy on this machine, over a socket of its file system."""

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_TOKEN = re.compile(r"[A-Za-z0-9_.~-]{16,200}")
_LOGGERS = (
    *("aiohttp.access", "aiohttp.server", "aiohttp.web", "uvicorn.access", "uvicorn.error", "asyncio"),
    *("hypercorn.access", "hypercorn.error", "gunicorn.access", "gunicorn.error"),
)
"""The loggers to which web servers write paths."""


class BodyLost(Exception):
    """The body did not arrive whole: nothing can be stored, and perhaps no answer can be sent."""


class Source(NamedTuple):
    """The sender of a request.

    Attributes:
        peer: the address of the connection; None over a socket of the file system.
        forwarded: the values of ``X-Forwarded-For``, in their order.
        rewritten: whether the server has put the address of a proxy's header there, so that it trusts the proxy.
    """

    peer: str | None
    forwarded: Sequence[str] = ()
    rewritten: bool = False


class Delivery(Protocol):
    """A request as the core reads it. An adapter finds each value only when it is used: few requests need them all."""

    @property
    def method(self) -> str:
        """The verb, such as ``POST``."""
        ...

    @property
    def token(self) -> str:
        """The last part of the path."""
        ...

    @property
    def length(self) -> int | None:
        """The length of the body by the request's header."""
        ...

    def source(self) -> Source:
        """The sender of the request."""
        ...

    async def body(self, most: int) -> bytes:
        """The body, or the beginning of one that is too long; BodyLost if it did not arrive whole."""
        ...


class Answer(Struct, frozen=True):
    """An answer, for an adapter to send."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


_TAKEN = Answer(200, "ok\n")
NOT_FOUND = Answer(404, "Not Found\n")
_NOT_ALLOWED = Answer(405, "GotSurge posts its events here\n", {"Allow": "POST"})
_NOT_YOU = Answer(403, "Forbidden\n")
_TOO_SLOW = Answer(408, "The body did not arrive in time\n", {"Connection": "close"})
_TOO_LARGE = Answer(413, "The body is too large\n", {"Connection": "close"})
_TOO_MANY = Answer(429, "Too many events: send it again later\n", {"Retry-After": "1"})
_NOT_KEPT = Answer(503, "The event could not be stored: send it again later\n", {"Retry-After": "10"})


class Seldom:
    """Allows a line of the log for each cause, and the next one a minute later."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}

    def may(self, cause: str) -> bool:
        """Whether a line may be logged; the caller then logs it."""
        now = self._clock.monotonic()
        if now < self._next.get(cause, now):
            return False
        self._next[cause] = now + LOG_EVERY
        return True


class Receiver:
    """Takes the events of one account into an inbox::

        receiver = Receiver(inbox, tokens=[token], account="acme")
        app.add_routes(webhook_routes(receiver, "/webhooks"))          # aiohttp.web
        app.mount("/webhooks", WebhookApp(receiver))                   # Starlette, FastAPI

    Args:
        tokens: one, or two while GotSurge changes to a new one: each at least 16 letters, digits, ``-``, ``_``, ``.``
            or ``~``; ``secrets.token_urlsafe(32)`` makes one. No access log of a common web server shows them.
        account: the account that reads the tasks.
        allow: addresses and networks that may post; unless given, anybody who knows a token.
        trusted_proxies: addresses and networks of your proxies, whose ``X-Forwarded-For`` is believed.
        largest: the most bytes of a body.
        rate: the most events a second, on the average over ten seconds; None for any number.

    Raises:
        ConfigError: a token that could be guessed, no token, or an invalid address.
    """

    def __init__(
        self,
        inbox: Inbox,
        *,
        tokens: Iterable[str | Secret],
        account: str = "default",
        allow: Iterable[str] | None = None,
        trusted_proxies: Iterable[str] = (),
        largest: int = LARGEST,
        rate: float | None = RATE,
        clock: Clock | None = None,
    ) -> None:
        secrets = [secret for each in tokens if (secret := as_secret(each))]
        if not secrets or not all(_TOKEN.fullmatch(secret.reveal()) for secret in secrets):
            raise ConfigError(
                "a webhook token must be 16 to 200 letters, digits, '-', '_', '.' or '~'; make one with "
                "python -c 'import secrets; print(secrets.token_urlsafe(32))'",
                "E801",
            )
        self.account = account
        self._inbox = inbox
        self._digests = [_digest(secret.reveal()) for secret in secrets]
        self._addresses = AllowList(allow, trusted_proxies)
        self._largest = largest
        self._rate = rate
        self._clock = clock or SystemClock()
        self._left = (rate or 0.0) * BURST_SECONDS
        self._left_at = self._clock.monotonic()
        self._failing = False
        self._seldom = Seldom(self._clock)
        mask = _Mask(secrets)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(mask)
        weakref.finalize(self, _unmask, mask)

    async def take(self, delivery: Delivery) -> Answer:
        """Handle a request: 200 means that its event is durable. Any other answer means that nothing was stored.

        Raises:
            BodyLost: the sender has gone.
        """
        if not self._is_known(delivery.token):
            return NOT_FOUND
        if delivery.method != "POST":
            return _NOT_ALLOWED
        source = delivery.source()
        if not self._addresses.admits(source):
            if self._seldom.may("address"):
                log.warning("an event with the right token came from an address that is not allowed: %s", source.peer)
            return _NOT_YOU
        if delivery.length is not None and delivery.length > self._largest:
            return _TOO_LARGE
        if not self._is_in_time():
            return _TOO_MANY
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await delivery.body(self._largest)
        except TimeoutError:
            return _TOO_SLOW
        if len(body) > self._largest:
            return _TOO_LARGE
        return await self._keep(body, self._addresses.sender(source))

    async def is_ready(self, *, known: bool = True) -> bool:
        """Whether the next event would be stored.

        Then the inbox answers, it has room for an event of any size, and the last event could be stored.

        Args:
            known: whether the event is of a task that the order book knows.
        """
        try:
            async with asyncio.timeout(BODY_SECONDS):
                await self._inbox.show(0)
                has_room = await self._inbox.has_room(self._largest, known=known)
        except (StoreError, TimeoutError):
            return False
        return has_room and not self._failing

    async def _keep(self, body: bytes, sender: str) -> Answer:
        try:
            await self._inbox.put(self.account, body, sender)
        except InboxFull as error:
            if self._seldom.may("full"):
                log.error("events are answered with 503: %s", error)  # noqa: TRY400 - no line of code is at fault
            return _NOT_KEPT
        except StoreError as error:
            if not self._failing:  # once: the log may be on the same disk
                log.error("events cannot be stored, and are answered with 503: %s", error)  # noqa: TRY400
            self._failing = True
            return _NOT_KEPT
        if self._failing:
            log.warning("events can be stored again")
        self._failing = False
        return _TAKEN

    def _is_known(self, token: str) -> bool:
        """Whether a token is one of ours, in a time that does not depend on how much of it is right."""
        given = _digest(token)
        found = False
        for known in self._digests:
            found |= compare_digest(given, known)
        return found

    def _is_in_time(self) -> bool:
        if self._rate is None:
            return True
        now = self._clock.monotonic()
        self._left = min(self._rate * BURST_SECONDS, self._left + (now - self._left_at) * self._rate)
        self._left_at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class _Mask(logging.Filter):
    """Removes tokens from the log lines of web servers."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in list(record.__dict__.items()):
            if isinstance(value, str):
                record.__dict__[name] = self._masked(value)
        if isinstance(record.args, tuple):
            record.args = tuple(self._masked(each) if isinstance(each, str) else each for each in record.args)
        elif isinstance(record.args, dict):
            record.args = {
                key: self._masked(each) if isinstance(each, str) else each for key, each in record.args.items()
            }
        return True

    def _masked(self, text: str) -> str:
        return without(text, self._secrets)


def _unmask(mask: logging.Filter) -> None:
    for name in _LOGGERS:
        logging.getLogger(name).removeFilter(mask)


# --- who may post -----------------------------------------------------------------------------------------------------
#
# Behind a proxy the peer is the proxy, and ``X-Forwarded-For`` says for whom it speaks. Everybody can send that header,
# so it is read from the right: each proxy appends its own peer, and only what a trusted one wrote counts.


class AllowList:
    """Addresses that may post; all may unless some are listed; ConfigError for one that is neither address nor network.

    ``allow`` are such as ``203.0.113.7`` or ``203.0.113.0/24``. ``X-Forwarded-For`` of ``trusted_proxies`` is believed;
    ``unix`` is one behind a socket of the file system.
    """

    def __init__(self, allow: Iterable[str] | None = None, trusted_proxies: Iterable[str] = ()) -> None:
        proxies = list(trusted_proxies)
        self._allow: list[Network] | None = None if allow is None else [_network(each) for each in allow]
        self._trusted = [_network(each) for each in proxies if each != UNIX]
        self._unix = UNIX in proxies

    def admits(self, source: Source) -> bool:
        """Whether the sender may post."""
        if self._allow is None:
            return True
        sender = self._sender(source)
        return sender is not None and _is_in(sender, self._allow)

    def sender(self, source: Source) -> str:
        """The address of the sender, for IPv6 its network of 64 bits; "" if it is not known."""
        if not source.forwarded and source.peer and ":" not in source.peer:
            return source.peer
        return _without_host(self._sender(source))

    def _sender(self, source: Source) -> Address | None:
        """The first address from the right that is not of a trusted proxy; None if that is not an address."""
        sender = _address(source.peer) if source.peer else None
        if source.rewritten and source.forwarded:
            # It may be the leftmost, which anybody can write: what the trusted proxy wrote is the rightmost.
            sender = None
        elif sender is None and not (self._unix and not source.peer):
            return None
        elif sender is not None and not _is_in(sender, self._trusted):
            return sender
        for text in reversed([each.strip() for value in source.forwarded for each in value.split(",")]):
            sender = _address(text)
            if sender is None or not _is_in(sender, self._trusted):
                return sender
        return sender


def network_of(peer: str) -> str:
    """The address of a peer, for IPv6 its network of 64 bits: one sender may have all addresses of such a network."""
    return _without_host(_address(peer)) if ":" in peer else peer


def _without_host(address: Address | None) -> str:
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return "" if address is None else str(address)


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
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
        why = f"{text!r} is neither an address nor a network, such as 203.0.113.7 or 203.0.113.0/24"
        raise ConfigError(why, "E805") from None
    if isinstance(found, IPv6Network) and found.network_address.ipv4_mapped and found.prefixlen >= 96:
        return ip_network(f"{found.network_address.ipv4_mapped}/{found.prefixlen - 96}")
    return found
