"""Sign-in inside a web service: pages without a framework, and their adapters for aiohttp.web and ASGI."""
