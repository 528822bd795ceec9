"""`gs.request`: a call to any path, for operations that no method of this package makes."""

import re
from collections.abc import Mapping
from json import dumps
from typing import Any

import attrs
from msgspec import Struct

from gotsurge_async.api.endpoints import Endpoint, Replay
from gotsurge_async.api.profile import VERBS
from gotsurge_async.calls.session import Session
from gotsurge_async.errors import UsageError
from gotsurge_async.models.base import Model
from gotsurge_async.transports.base import Response

__all__ = ["RawCalls"]

_PATH = re.compile(r"(/([\w.~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)+", re.ASCII)
_OWN = ("authorization", "connection", "content-encoding", "content-length", "host", "transfer-encoding")
_OPERATION = re.compile(r"[\w.-]{1,60}", re.ASCII)
_NAME = re.compile(r"[\w-]+", re.ASCII)


@attrs.frozen
class _RawEndpoint(Endpoint[Response]):
    """An endpoint whose path comes with the call."""

    raw_path: str = attrs.field(kw_only=True)

    def url_path(self, values: Mapping[str, str] = {}) -> str:
        return self.raw_path


class RawCalls(Struct, frozen=True):
    """Makes calls by their verb and path. The object is callable, see `__call__`.

    ::

        answer = await gs.request("GET", "/reports/2026", query={"page": 2})
        print(answer.status, answer.body)
    """

    _session: Session

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        operation: str = "request",
        repeat: bool | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Make one call in the same way as all others: signed, limited, watched by the hooks, with the same errors.

        Your path counts as confirmed, so production accepts it. No ledger remembers the call.

        Args:
            method: GET, POST, PUT, PATCH or DELETE.
            path: after the API base, from its "/" on, percent-encoded: quote each value with
                ``urllib.parse.quote(value, safe="")``.
            query: values for after the question mark.
            json: the body: plain values, and models of this package; None for none.
            headers: extra headers; they replace ``Accept``, ``Content-Type`` and ``User-Agent``.
            operation: its name for events, errors, metrics and spans, where the path is not shown. Use few: each
                is counted.
            repeat: whether it may be sent again when its answer is lost. By default a GET may, and nothing else.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Returns:
            The answer, of a status from 200 to 299: ``status``, ``headers`` with lower-case names, ``body`` as bytes.

        Raises:
            UsageError: a method, a path or a header that cannot be; nothing was sent.
            Rejected: any other status that says no.
            NotSent: it was certainly not processed.
            OutcomeUnknown: it is not known whether it was processed.
        """
        if not isinstance(operation, str) or not _OPERATION.fullmatch(operation):
            why = f"operation must be a name of up to 60 letters, digits, dots and dashes, not {operation!r:.60}"
            raise UsageError(why, "E903")
        if method not in VERBS:
            raise UsageError(f"method must be one of {', '.join(sorted(VERBS))}, not {method!r:.60}", "E903")
        if not isinstance(path, str) or not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
            why = (
                'path is appended to the API base: it must start with "/", be percent-encoded, and contain no "?" '
                "(use query=)"
            )
            raise UsageError(why, "E903")
        endpoint = _RawEndpoint(
            operation,
            method,
            "/{path}",
            section="",
            replay=Replay.SAFE if repeat or (repeat is None and method == "GET") else Replay.NEVER,
            response=Response,
            writes=method != "GET",
            assumed=False,
            raw_path=path,
        )
        return await self._session.within(timeout).call(
            endpoint,
            query=_query(query or {}),
            body=_body(json),
            headers=_checked(headers or {}),
            read=lambda _, answer: answer,
        )


def _query(values: Mapping[str, str | int]) -> Mapping[str, str | int]:
    for name, value in values.items():
        if not isinstance(value, str | int):
            raise UsageError(f"query: {name!r:.60} must be text or a whole number, not {value!r:.60}", "E903")
        if any("\ud800" <= sign <= "\udfff" for sign in f"{name}{value}"):
            raise UsageError(f"query: {name!r:.60}={value!r:.60} contains half of a surrogate pair", "E903")
    return values


def _body(value: Any) -> bytes | None:
    """Encode a body as JSON. A value that JSON has no form for is refused, because it would become null."""
    try:
        return None if value is None else dumps(value, ensure_ascii=False, allow_nan=False, default=_model).encode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"json: {error}", "E903") from None


def _model(value: Any) -> dict[str, Any]:
    if isinstance(value, Model):
        return value.to_dict()
    raise TypeError(
        f"JSON cannot contain a value of the type {type(value).__name__}: give plain values, or a model of this package"
    )


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers under the spelling of this package, since HTTP ignores the case of names."""
    checked = {}
    for name, value in headers.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)) or name.lower() in _OWN:
            raise UsageError(f"headers: {name!r:.60} cannot be set here: the client sets it itself", "E903")
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise UsageError(f"headers: {name} must be printable ASCII text", "E903")
        checked[name.title()] = value
    return checked
