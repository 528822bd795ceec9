"""Sends events on, in order, signed as the Standard Webhooks specification has it (https://www.standardwebhooks.com).

The receiver of what is sent on checks ``webhook-signature``: HMAC-SHA256, by the secret, of id, time and body, with
dots between; in base64, after ``v1,``. A secret is ``whsec_`` and base64 of 24 to 64 bytes.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import os
from collections.abc import Mapping

from gotsurge_async.calls.tries import backoff
from gotsurge_async.clock import Clock
from gotsurge_async.config import RetryPolicy
from gotsurge_async.errors import ConfigError
from gotsurge_async.secrets import Secret, url_for_log
from gotsurge_async.transports.base import Request, Transport, TransportError
from gotsurge_async.webhooks.inbox import Stored

log: logging.Logger = logging.getLogger(__name__)

PREFIX = "whsec_"
_AGAIN = RetryPolicy(base=0.5, cap=30.0)


def new_secret() -> Secret:
    """A secret that nobody knows yet."""
    return Secret(PREFIX + base64.b64encode(os.urandom(32)).decode())


def key_of(secret: Secret) -> bytes:
    """The bytes of a secret.

    Raises:
        ConfigError: it is none.
    """
    try:
        key = base64.b64decode(secret.reveal().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.reveal().startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise ConfigError(f"the secret that events are signed with is {PREFIX} and base64 of 24 to 64 bytes", "E805")
    return key


def signed(key: bytes, message_id: str, seconds: int, body: bytes) -> Mapping[str, str]:
    """The headers of a message."""
    content = b".".join((message_id.encode(), str(seconds).encode(), body))
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(seconds), "webhook-signature": f"v1,{signature}"}


class Forwarder:
    """Sends events to a URL, one after another.

    Args:
        secret: signs them.
    """

    def __init__(self, url: str, secret: Secret, transport: Transport, clock: Clock) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError("events are sent on to a URL that begins with http:// or https://", "E805")
        self._url = url
        self._key = key_of(secret)
        self._transport = transport
        self._clock = clock

    async def send(self, stored: Stored) -> int:
        """Send an event until it is answered 2xx, later and later; how often it was tried."""
        body = stored.body or b""
        tries = 0
        while True:
            tries += 1
            # The time is that of the try: a receiver refuses what is old. The id is the event's own: it may come twice.
            headers = signed(self._key, f"gotsurge_{stored.id}", int(self._clock.now().timestamp()), body)
            request = Request(
                method="POST", url=self._url, headers={"Content-Type": "application/json", **headers}, body=body
            )
            try:
                status = (await self._transport.send(request)).status
                why = f"HTTP {status}"
            except TransportError as error:
                status, why = 0, error.reason
            if 200 <= status < 300:
                return tries
            wait = backoff(_AGAIN, tries, 1.0)
            log.warning(
                "event %d was not taken by %s (%s): again in %.1f s", stored.id, url_for_log(self._url), why, wait
            )
            await self._clock.sleep(wait)
