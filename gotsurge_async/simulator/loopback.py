"""The simulator is for this machine alone: it refuses requests of foreign pages through a browser on it.

It listens on the loopback interface, but a browser here reaches that too, on behalf of any page: by a plain POST
(Origin names the page), under a name of the page's own that was pointed at 127.0.0.1 (DNS rebinding; Host names it), or
by a GET for an image or a script, which has no Origin (Sec-Fetch-Site says that the page is another's).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from urllib.parse import urlsplit

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
PAGE_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every page; each has a Content-Security-Policy of its own."""


def is_here(url: str) -> bool:
    """Whether a URL leads to this machine, whatever its port."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.hostname in HOSTS and parts.username is None


def check_url(url: str, *, anywhere: bool) -> str:
    """Check a webhook's URL, which may be empty; raises ValueError for a URL to which nothing may be sent."""
    if not url or is_here(url):
        return url
    if not anywhere:
        raise ValueError(f"{origin(url)} is not on this machine: webhooks go elsewhere only with --webhooks-anywhere")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a webhook's URL begins with http:// or https:// and a host")
    return url


def origin(url: str) -> str:
    """Scheme, host and port of a URL, without a user."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "that address"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def masked_url(url: str) -> str:
    """A webhook's URL without possible secrets of its receiver: long segments of its path, query, user."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    path = "/".join(segment if len(segment) < 16 else f"{segment[:2]}…" for segment in parts.path.split("/"))
    return f"{parts.scheme}://{host}{path}" + ("?…" if parts.query else "")


def only_from_here(*, any_origin: Collection[str]) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return a middleware that refuses foreign hosts, and foreign origins except on some paths."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if not is_here(f"http://{host}") or urlsplit(f"http://{host}").netloc != host:
            return _refused("Host")
        if request.url.host not in HOSTS:  # a whole address, as for a proxy: it need not be that of Host
            return _refused("the address")
        if request.path not in any_origin and not all(map(is_here, request.headers.getall("Origin", ()))):
            return _refused("Origin")
        if _is_fetched_by_a_stranger(request.headers):
            return _refused("Sec-Fetch-Site")
        return await handler(request)

    return guard


def _is_fetched_by_a_stranger(headers: Mapping[str, str]) -> bool:
    """Whether a page of another site requests this in the background, not in a tab of its own."""
    if headers.get("Sec-Fetch-Site") != "cross-site" or headers.get("Sec-Fetch-Mode") == "navigate":
        return False
    return "Origin" not in headers  # to a browser localhost is a stranger to 127.0.0.1; its Origin says better


def _refused(header: str) -> web.Response:
    return web.json_response({"message": f"The simulator is for this machine alone: {header} is foreign"}, status=403)
