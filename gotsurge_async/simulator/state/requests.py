"""The latest calls with their bodies, for the board; secrets are masked whenever a call is shown."""

import json
import shlex
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field

from gotsurge_async.api.endpoints import ENDPOINTS

MOST_REQUESTS = 500
MOST_BYTES = 16 << 20
BODY_LIMIT = 64 << 10
"""Bytes of each body that are kept, at most."""

SECRETS = frozenset(
    ("secret_key", "code", "bearer_token", "refresh_token", "session_id", "password", "client_secret", "webhook_url")
)
"""Fields whose values are masked, wherever they stand in a call that signs in."""
MASK = "***"


@define(eq=False)
class LoggedCall:
    """One call of an operation, and its answer; ``status`` is 0 where no whole answer went out."""

    operation: str
    verb: str
    path: str
    at: float
    account: str = ""
    agent: str = ""
    authorized: bool = False
    body: bytes = field(default=b"", repr=False)
    body_size: int = 0
    answer: bytes = field(default=b"", repr=False)
    answer_size: int = 0
    status: int = 0
    seconds: float = 0.0
    faults: tuple[str, ...] = ()
    acted_at: float | None = None
    """When a fault let the call take effect, in seconds since the epoch; None if it was not put off, or is to come."""
    acted_status: int = 0
    """The status with which the service would have answered the late call."""
    task_id: str = ""
    number: int = 0

    @property
    def signs_in(self) -> bool:
        """Whether the call or its answer may contain secrets."""
        return not ENDPOINTS[self.operation].bearer

    def take_body(self, body: bytes) -> None:
        """Keep the request's body, cut to the limit."""
        self.body, self.body_size = body[:BODY_LIMIT], len(body)

    def take_answer(self, status: int, answer: object) -> None:
        """Keep the answer, cut to the limit."""
        content = answer if isinstance(answer, bytes) else b""
        self.status, self.answer, self.answer_size = status, content[:BODY_LIMIT], len(content)

    @property
    def shown_body(self) -> str:
        """The request's body, readable, without secrets."""
        return self._shown(self.body, self.body_size)

    @property
    def shown_answer(self) -> str:
        """The answer, readable, without secrets."""
        return self._shown(self.answer, self.answer_size)

    def _shown(self, content: bytes, size: int) -> str:
        if not content:
            return ""
        try:
            value = json.loads(content)
            if self.signs_in:
                value = _masked(value)
            text = json.dumps(value, indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            # What cannot be read cannot be masked either.
            text = "(not shown: it may hold a secret)" if self.signs_in else content.decode("utf-8", "replace")
        text = text.encode("utf-8", "replace").decode()  # JSON may hold halves of characters
        more = size - len(content)
        return f"{text}\n… and {more:,} bytes more" if more > 0 else text

    def curl(self, api_base: str) -> str:
        """A command that makes the call again; the token is a variable, and so is every secret."""
        words = ["curl", "-X", self.verb, shlex.quote(api_base + self.path)]
        if self.authorized:
            words += ["-H", '"Authorization: Bearer $GOTSURGE_BEARER_TOKEN"']
        if self.body:
            compact = self.shown_body
            if self.body_size == len(self.body):
                with suppress(ValueError):
                    compact = json.dumps(json.loads(compact), ensure_ascii=False)
            words += ["-H", "'Content-Type: application/json'", "--data-binary", shlex.quote(compact)]
        return " ".join(words)

    def described(self) -> dict[str, Any]:
        """The call as JSON, with its bodies as texts."""
        return {
            "number": self.number,
            "at": self.at,
            "operation": self.operation,
            "verb": self.verb,
            "path": self.path,
            "account": self.account,
            "status": self.status,
            "seconds": round(self.seconds, 4),
            "faults": list(self.faults),
            "acted_at": self.acted_at,
            "acted_status": self.acted_status,
            "body": self.shown_body,
            "answer": self.shown_answer,
        }


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _masked(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, name) for item in value]
    return MASK if name in SECRETS and value else value


class LoggedCalls:
    """The latest calls, as many as there is room for; the oldest is forgotten first."""

    def __init__(self) -> None:
        self._kept: deque[LoggedCall] = deque()
        self._bytes = 0
        self._made = 0

    def add(self, call: LoggedCall) -> None:
        """Number and keep a finished call."""
        self._made += 1
        call.number = self._made
        self._kept.append(call)
        self._bytes += len(call.body) + len(call.answer)
        while len(self._kept) > MOST_REQUESTS or self._bytes > MOST_BYTES:
            oldest = self._kept.popleft()
            self._bytes -= len(oldest.body) + len(oldest.answer)

    def latest(self, count: int) -> Sequence[LoggedCall]:
        """The newest calls, the newest first."""
        return [self._kept[-place] for place in range(1, min(count, len(self._kept)) + 1)]

    def find(self, number: int) -> LoggedCall:
        """A call by its number; raises LookupError for an unknown or forgotten one."""
        for call in reversed(self._kept):
            if call.number == number:
                return call
        raise LookupError(f"there is no request {number}, or it is forgotten")
