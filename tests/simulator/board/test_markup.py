import re

import pytest

from gotsurge_async.simulator.board.markup import PIECES, STATIC, Html, fill, joined, safe
from gotsurge_async.simulator.state.tasks import TRANSITIONS

HOSTILE = """<script>alert(1)</script>'"&amp;$name"""


def test_whatever_is_filled_in_is_escaped() -> None:
    """A text never becomes markup, neither between tags nor in an attribute, and is not filled in itself."""
    piece = fill(
        "call-more", **dict.fromkeys(("curl", "authorization", "agent", "body", "answered", "answer", "link"), HOSTILE)
    )
    assert "<script" not in piece
    assert piece.count("&lt;script&gt;alert(1)&lt;/script&gt;&#x27;&quot;&amp;amp;$name") == 7


def test_html_made_here_is_not_escaped_again() -> None:
    """What a piece gave goes into another one as it is; None is nothing."""
    assert joined((Html("<b>"), "<i>", None, 7)) == "<b>&lt;i&gt;7"
    assert safe(fill("mark", text="<")) == "<b>&lt;</b>"


def test_a_forgotten_value_is_an_error() -> None:
    """A piece is not shown with a placeholder in it."""
    with pytest.raises(KeyError):
        fill("mark")


def test_the_pieces_need_no_inline_script_and_no_inline_style() -> None:
    """The policy allows neither, nor anything from elsewhere: no piece has any, nor has a file of the board."""
    for name, piece in PIECES.items():
        assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", piece.text), name
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"https?://(?!127\.0\.0\.1|www\.w3\.org)[^\s\"']*", text), path
        assert "innerHTML" not in text or path.name == "board.js"


def test_every_glyph_that_is_used_is_there() -> None:
    """No sign of a status is missing."""
    glyphs = set(re.findall(r'<symbol id="g-([\w]+)"', (STATIC / "glyphs.svg").read_text(encoding="utf-8")))
    used = set(re.findall(r'#g-(\w+)"', "".join(piece.text for piece in PIECES.values())))
    assert glyphs == {*TRANSITIONS, "warn", "hour", "boat"}
    assert used <= glyphs
