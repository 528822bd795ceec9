import re
import subprocess
import sys
from typing import Any

import aiohttp
import pytest
from jinja2 import UndefinedError

from gotsurge_async.simulator import Simulator
from gotsurge_async.simulator.board import pages
from gotsurge_async.simulator.board.pages import STATIC, TEMPLATES, templates
from gotsurge_async.simulator.state.tasks import TRANSITIONS


def macro(name: str) -> Any:
    return getattr(templates().get_template("parts.html").module, name)


def test_a_forgotten_value_is_an_error() -> None:
    """A part is not shown with a gap in it."""
    with pytest.raises(UndefinedError):
        macro("pre")("Body")


def test_the_templates_need_no_inline_script_and_no_inline_style() -> None:
    """The policy allows neither, nor anything from elsewhere: no template has any, nor has a file of the board."""
    for path in (*TEMPLATES.iterdir(), *STATIC.iterdir()):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"https?://(?!127\.0\.0\.1|www\.w3\.org)[^\s\"']*", text), path
        assert "innerHTML" not in text or path.name == "board.js"
        if path.suffix == ".html":
            assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:|\|safe", text), path


def test_every_glyph_that_is_used_is_there() -> None:
    """No sign of a status is missing."""
    glyphs = set(re.findall(r'<symbol id="g-([\w]+)"', (TEMPLATES / "glyphs.svg").read_text(encoding="utf-8")))
    text = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.html"))
    used = set(re.findall(r'#g-(\w+)"', text)) | set(re.findall(r'glyph\("(\w+)"', text))
    assert glyphs == {*TRANSITIONS, "warn", "hour", "boat"}
    assert used <= glyphs


def test_the_templates_are_loaded_when_a_board_is_opened() -> None:
    """A program that only uses a simulator does not load Jinja2."""
    code = "import sys, gotsurge_async.testing; print([name for name in sys.modules if 'jinja' in name])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"


async def test_a_board_without_jinja_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Jinja2 is not installed, the simulator runs, and its board names the extra."""
    monkeypatch.setattr(pages, "templates", templates.__wrapped__)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    async with Simulator() as simulator, aiohttp.ClientSession() as session:
        for path in ("/", "/orders/x", "/board/parts?names=orders"):
            async with session.get(simulator.origin + path) as answer:
                assert answer.status == 501
                assert 'pip install "gotsurge-async[cli]"' in await answer.text()
        async with session.get(f"{simulator.origin}/_simulator/audit") as answer:
            assert answer.status == 200
