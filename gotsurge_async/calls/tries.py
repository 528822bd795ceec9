"""The tries of a call: what they have in common, the request that each sends, and whether there is another."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct

from gotsurge_async import codec
from gotsurge_async.api.endpoints import Endpoint, Replay
from gotsurge_async.calls.outcome import Outcome
from gotsurge_async.config import RetryPolicy
from gotsurge_async.models.tasks import Message
from gotsurge_async.secrets import Secret
from gotsurge_async.transports.base import Request, Response
from gotsurge_async.version import __version__

USER_AGENT = f"gotsurge-async/{__version__}"


class Call(Struct, kw_only=True, eq=False):
    """The data that all tries of a call share, and the stage that the call has reached."""

    endpoint: Endpoint[Any]
    url: str
    body: bytes | None
    headers: Mapping[str, str]
    read: Callable[[codec.Codec, Response], Any] | None
    before_send: Callable[[], Awaitable[None]] | None
    after_send: Callable[[Outcome, int | None], None] | None
    secrets: tuple[Secret, ...]
    number: int
    tries: int = 0
    bearer: Secret | None = None
    maybe_sent: bool = False
    """Whether a try was sent that may have been processed."""

    def __repr__(self) -> str:
        return f"Call(endpoint={self.endpoint.name}, number={self.number}, tries={self.tries})"

    def value_of(self, session_codec: codec.Codec, answer: Response) -> Any:
        """The result of the call; raises UnreadableAnswer."""
        if self.read is not None:
            return self.read(session_codec, answer)
        cls = self.endpoint.response
        if cls is Message and not answer.body.strip():  # 204, or an empty 200: done, without a message
            return Message()
        return session_codec.decode(answer.body, cls)


def build_request(
    verb: str,
    url: str,
    user_agent: str = USER_AGENT,
    *,
    body: bytes | None = None,
    bearer: Secret | None = None,
    headers: Mapping[str, str] = {},
) -> Request:
    """Make one request of a call, with its headers; those of the call itself take precedence."""
    all_headers = {"Accept": "application/json", "User-Agent": user_agent}
    if body is not None:
        all_headers["Content-Type"] = "application/json"
    if bearer is not None:
        all_headers["Authorization"] = f"Bearer {bearer.reveal()}"
    return Request(method=verb, url=url, headers={**all_headers, **headers}, body=body)


# --- again or not: pure functions -------------------------------------------------------------------------------------


def may_repeat(replay: Replay, outcome: Outcome) -> bool:
    """Whether a repeat can do no harm, whatever the number of tries."""
    if outcome is Outcome.UNKNOWN:
        return replay is Replay.SAFE
    return outcome in (Outcome.NOT_SENT, Outcome.RATE_LIMITED)


def backoff(policy: RetryPolicy, attempt: int, random: float) -> float:
    """Seconds to wait after try number ``attempt`` (from 1): up to a bound that doubles, by ``random`` in [0, 1)."""
    return min(policy.cap, policy.base * 2.0 ** min(attempt - 1, 60)) * random


def decide(
    policy: RetryPolicy,
    replay: Replay,
    outcome: Outcome,
    *,
    attempt: int,
    elapsed: float,
    random: float,
    retry_after: float | None = None,
) -> float | None:
    """Seconds to wait before the next try, or None to give up.

    Args:
        attempt: the number of the try that has just ended, from 1.
        elapsed: seconds since the first try began.
        random: drawn from [0, 1).
        retry_after: seconds that the service asked for; waited in full, and a little more so that clients spread.
    """
    if not may_repeat(replay, outcome) or attempt >= policy.attempts:
        return None
    wait = backoff(policy, attempt, random)
    if retry_after is not None:
        if retry_after > policy.longest_retry_after:
            return None
        wait = retry_after + min(wait, policy.base)
    return wait if elapsed + wait <= policy.deadline else None
