"""A browser without scripts: follows GotSurge's pages with a person's answers, as ``BROWSER`` for a command.

python -m tests.support.browser allow|refuse|tamper|close|strangers URL
"""

import asyncio
import re
import sys
from html import unescape
from urllib.parse import urljoin

import aiohttp

EMAIL, PASSWORD = "plain@example.com", "plain-password"


class Pages:
    """What a person sees, page by page."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.url = ""
        self.status = 0
        self.text = ""

    async def go(self, url: str, fields: dict[str, str] | None = None, *, follow: bool = True) -> str:
        """Open a page, or send a form; the text of what comes."""
        method = "GET" if fields is None else "POST"
        async with self._session.request(method, url, data=fields, allow_redirects=follow) as answer:
            self.url, self.status, self.text = str(answer.url), answer.status, await answer.text()
            self.location = answer.headers.get("Location", "")
            return self.text

    async def submit(self, *, follow: bool = True, **fields: str) -> str:
        """Fill in the form of the page, and send it."""
        action = re.search(r'<form method="post" action="([^"]*)"', self.text)
        assert action is not None, self.text
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', self.text))
        given = {name: unescape(value) for name, value in hidden.items()} | fields
        return await self.go(urljoin(self.url, unescape(action[1])), given, follow=follow)


async def consent(pages: Pages, url: str, how: str = "allow", email: str = EMAIL, password: str = PASSWORD) -> str:
    """Sign in and decide; the address that GotSurge sends back to, not yet visited."""
    await pages.go(url)
    await pages.submit(email=email, password=password)
    await pages.submit(decision="refuse" if how == "refuse" else "allow", follow=False)
    return re.sub(r"state=[^&]*", "state=another", pages.location) if how == "tamper" else pages.location


async def main(how: str, url: str) -> None:
    """Do as a person would."""
    if how == "close":
        return
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        pages = Pages(session)
        back = await consent(pages, url, how)
        if how == "strangers":
            await stray(session, back)
        await pages.go(back)


async def stray(session: aiohttp.ClientSession, back: str) -> None:
    """What pages of strangers have a browser send to the address that GotSurge sends back to."""
    lies = "error=access_denied&error_description=call+555"
    callback = back.partition("?")[0]
    host = callback.split("/")[2]
    for url, name in (
        (callback, host),
        (f"{callback}?{lies}", host),
        (f"{callback}?code=x", host),
        (f"{callback}?state=&code=x", host),
        (f"{callback}?state=%ED%A0%80x&{lies}", host),
        (back, "evil.example"),
        (back, "localhost" + host.removeprefix("127.0.0.1")),
    ):
        async with session.get(url, headers={"Host": name}) as answer:
            assert answer.status == 403
            assert "555" not in await answer.text()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
