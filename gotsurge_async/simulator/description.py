"""The OpenAPI document of what the simulator serves."""

from aiohttp import web

from gotsurge_async.api.openapi import document_text
from gotsurge_async.simulator.app import BASE_PATH
from gotsurge_async.simulator.back_door import PREFIX


def add_description(app: web.Application) -> None:
    """Serve the document, with the simulator's own address as its server."""
    app.router.add_get(f"{PREFIX}/openapi.json", _describe)


async def _describe(request: web.Request) -> web.Response:
    api_base = f"{request.url.origin()}{BASE_PATH}"
    text = document_text(servers=[(api_base, "This simulator.")])
    return web.Response(text=text, content_type="application/json")
