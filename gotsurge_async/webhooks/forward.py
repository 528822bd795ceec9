"""Sends events or changes on, signed by the Standard Webhooks specification (https://www.standardwebhooks.com).

The receiver checks ``webhook-signature``: HMAC-SHA256, by the secret, of id, time and body, with
dots between; in base64, after ``v1,``. A secret is ``whsec_`` and base64 of 24 to 64 bytes.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import os
from collections.abc import Mapping

import msgspec

from gotsurge_async.calls.tries import USER_AGENT, backoff
from gotsurge_async.clock import Clock, to_microseconds
from gotsurge_async.config import RetryPolicy, is_web_url
from gotsurge_async.errors import ConfigError
from gotsurge_async.secrets import Secret, url_for_log
from gotsurge_async.transports.base import Request, Transport, TransportError
from gotsurge_async.webhooks.book import Change
from gotsurge_async.webhooks.inbox import Stored
from gotsurge_async.webhooks.receive import Seldom

log: logging.Logger = logging.getLogger(__name__)

PREFIX = "whsec_"
TRY_SECONDS = 30.0
"""Seconds that a target may take to answer."""
MOST_OF_AN_ANSWER = 64 * 1024
"""The bytes of an answer after which its connection is closed: only the status counts."""
_AGAIN = RetryPolicy(base=0.5, cap=30.0)


def new_secret() -> Secret:
    """A new random secret."""
    return Secret(PREFIX + base64.b64encode(os.urandom(32)).decode())


def key_of(secret: Secret) -> bytes:
    """The bytes of a secret; ConfigError if the text is not a secret."""
    try:
        key = base64.b64decode(secret.reveal().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.reveal().startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise ConfigError(f"the secret for forwarding must be {PREFIX} followed by 24 to 64 bytes in base64", "E805")
    return key


def signed(key: bytes, message_id: str, seconds: int, body: bytes) -> Mapping[str, str]:
    """The headers of a message, with its signature."""
    content = b".".join((message_id.encode(), str(seconds).encode(), body))
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(seconds), "webhook-signature": f"v1,{signature}"}


class NotDelivered(Exception):
    """Raised by a handler: a change was not handed on, and the reason was logged."""


def document_of(change: Change) -> bytes:
    """A change as JSON: a line of ``gotsurge receive --json``, and the body that is sent on."""
    document = {
        "number": change.number,
        "at": change.at or change.seen_at,
        "account": change.account,
        "task_id": change.task_id,
        "tracking_id": change.task.tracking_id,
        "status": change.status,
        "previous": change.previous,
        "late": change.late,
    }
    return msgspec.json.encode(document)


class Forwarder:
    """Sends events, or changes, to a URL, signed with a secret.

    The transport should end a try after `TRY_SECONDS`, and read no more than `MOST_OF_AN_ANSWER`.
    """

    def __init__(self, url: str, secret: Secret, transport: Transport, clock: Clock) -> None:
        if not is_web_url(url):
            raise ConfigError(
                "to forward events or changes, give a whole URL, such as https://example.com/changes", "E805"
            )
        self._url = url
        self._key = key_of(secret)
        self._transport = transport
        self._clock = clock
        self._seldom = Seldom(clock)

    async def send(self, stored: Stored) -> int:
        """Send an event until it is answered 2xx, with growing pauses; returns the number of tries."""
        tries = 0
        while True:
            tries += 1
            why = await self._post(f"gotsurge_{stored.id}", stored.body or b"")
            if why is None:
                return tries
            wait = backoff(_AGAIN, tries, 1.0)
            log.warning(
                "event %d was not accepted by %s (%s): next try in %.1f s", stored.id, url_for_log(self._url), why, wait
            )
            await self._clock.sleep(wait)

    async def send_change(self, change: Change) -> None:
        """Send a change, once; NotDelivered if the answer was not 2xx."""
        # The number alone would be another change's in a book that was made anew.
        message_id = f"change_{change.number}_{to_microseconds(change.seen_at)}"
        why = await self._post(message_id, document_of(change))
        if why is not None:
            where = url_for_log(self._url)
            if self._seldom.may(why):
                log.warning(
                    "change %d of task %s was not accepted by %s (%s): it is sent again; similar failures are "
                    "not logged for a minute", change.number, change.task_id, where, why
                )  # fmt: skip
            raise NotDelivered(f"{where}: {why}")

    async def _post(self, message_id: str, body: bytes) -> str | None:
        """Send a message once; returns the reason why it was not accepted, or None if it was."""
        # The time is that of the try: a receiver refuses what is old. The id is always the same: it may come twice.
        headers = signed(self._key, message_id, int(self._clock.now().timestamp()), body)
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
            **headers,
        }
        request = Request(method="POST", url=self._url, headers=headers, body=body)
        try:
            status = (await self._transport.send(request)).status
        except TransportError as error:
            return error.reason or type(error).__name__
        return None if 200 <= status < 300 else f"HTTP {status}"
