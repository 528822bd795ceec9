"""The receiver inside a web service: adapters for aiohttp.web and ASGI."""
