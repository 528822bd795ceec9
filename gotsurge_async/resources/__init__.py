"""The operations, one module for each group."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gotsurge_async.auth.oauth import OAuth
    from gotsurge_async.calls.session import Session
    from gotsurge_async.resources.partner import Partner, Sso
    from gotsurge_async.resources.platform import Platform
    from gotsurge_async.resources.prices import Prices
    from gotsurge_async.resources.raw import RawCalls
    from gotsurge_async.resources.tasks import Tasks

_HOMES = {
    "tasks": "tasks.Tasks",
    "prices": "prices.Prices",
    "partner": "partner.Partner",
    "platform": "platform.Platform",
    "request": "raw.RawCalls",
    "sso": "partner.Sso",
}


class Resources:
    """The resources of a client. Each is imported and made when it is first asked for: a push needs none."""

    tasks: "Tasks"
    prices: "Prices"
    partner: "Partner"
    platform: "Platform"
    request: "RawCalls"
    sso: "Sso"

    oauth: "OAuth"
    _session: "Session"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in _HOMES:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            module, _, kind = _HOMES[name].partition(".")
            cls = getattr(import_module(f"{__name__}.{module}"), kind)
            with_more = {"sso": (self.oauth,), "partner": (self._session, self.oauth.credentials)}
            self.__dict__[name] = made = getattr(cls, "of", cls)(*with_more.get(name, (self._session,)))
            return made

        def __dir__(self) -> list[str]:
            return [*super().__dir__(), *_HOMES]

    def _forget_resources(self) -> None:
        """Have the resources made anew, for another session."""
        for name in _HOMES:
            self.__dict__.pop(name, None)
