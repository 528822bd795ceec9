"""One try of one call: what is sent, what became of it, and the error that says so."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs

from gotsurge_async.api.endpoints import Endpoint
from gotsurge_async.calls.answers import named_rows, request_id, retry_after, service_message
from gotsurge_async.calls.retry import Outcome, outcome_of
from gotsurge_async.errors import BadRequest, CallError, NotSent, OutcomeUnknown, RateLimited, rejection_class
from gotsurge_async.secrets import Secret
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response, Transport
from gotsurge_async.version import __version__

USER_AGENT = f"gotsurge-async/{__version__}"


@attrs.define(kw_only=True)  # not frozen: one is made for each try, in half the time
class Attempt:
    """What became of one try: the outcome, and the answer or the reason why there is none."""

    outcome: Outcome
    response: Response | None = None
    reason: str = ""

    @property
    def status(self) -> int | None:
        """The HTTP status, None without an answer."""
        return self.response.status if self.response else None

    @property
    def request_id(self) -> str | None:
        """The service's own id of the request."""
        return request_id(self.response.headers) if self.response else None

    def retry_after(self, now: datetime) -> float | None:
        """Seconds that the service asks us to wait."""
        return retry_after(self.response.headers, now) if self.response else None


def build_request(
    endpoint: Endpoint[Any],
    api_base: str,
    *,
    path: Mapping[str, str],
    query: str,
    body: bytes | None,
    bearer: Secret | None,
) -> Request:
    """The request of a call; ``query`` is encoded already and without its question mark."""
    headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer.reveal()}"
    url = api_base + endpoint.url_path(path)
    return Request(method=endpoint.verb, url=f"{url}?{query}" if query else url, headers=headers, body=body)


def hidden_values(model: object) -> list[str]:
    """The texts of a model that its repr leaves out: its secrets."""
    cls: Any = type(model)
    if not attrs.has(cls):
        return []
    values = (getattr(model, field.name) for field in attrs.fields(cls) if field.repr is False)
    return [value for value in values if isinstance(value, str)]


async def attempt(transport: Transport, request: Request) -> Attempt:
    """Send once, and say what became of it. Only a cancellation passes through: then the outcome is unknown."""
    try:
        response = await transport.send(request)
    except NothingSent as error:
        return Attempt(outcome=Outcome.NOT_SENT, reason=error.reason)
    except MaybeSent as error:
        return Attempt(outcome=Outcome.UNKNOWN, reason=error.reason)
    return Attempt(outcome=outcome_of(response.status), response=response)


def error_of(
    endpoint: Endpoint[Any],
    failed: Attempt,
    *,
    attempts: int,
    sent: bytes | None,
    now: datetime,
    secrets: Iterable[str] = (),
) -> CallError:
    """The error for a call that ended with ``failed``; ``secrets`` are hidden where the service quotes them."""
    details: dict[str, Any] = {
        "operation": endpoint.name,
        "status": failed.status,
        "request_id": failed.request_id,
        "attempts": attempts,
    }
    # A success that could not be read holds data, not a word on what is wrong.
    if failed.response is not None and outcome_of(failed.response.status) is not Outcome.ANSWERED:
        details["service_message"] = service_message(failed.response.body, secrets)
    if failed.outcome is Outcome.NOT_SENT:
        return NotSent(failed.reason, **details)
    if failed.outcome is Outcome.UNKNOWN:
        return OutcomeUnknown(
            failed.reason or "the service failed, and does not say whether it acted", sent=sent or b"", **details
        )
    if failed.outcome is Outcome.RATE_LIMITED:
        return RateLimited("too many requests", retry_after=failed.retry_after(now), **details)
    cls = rejection_class(failed.status or 400)
    if cls is BadRequest and failed.response is not None:
        return BadRequest("", rows=named_rows(failed.response.body), **details)
    return cls("", **details)
