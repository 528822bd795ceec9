"""The meaning of each error and exit code: `troubleshooting.md` next to this file, read on demand.

docs/troubleshooting.md includes the file. Each ``###`` of it is an entry: the first bold line is its title, and what to
do follows, with a label only where a reason stands before it. `UNLESS_SAID` and `SAID_ABOVE` are not written out. A
block marked ``text`` holds the messages of the entry, with ``…`` for what differs; ``python -m tests.catalogue`` writes
these blocks.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

_ENTRY = re.compile(r"^### (E\d{3}|Exit \d+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_FAMILY = re.compile(r"^## (.+)$", re.MULTILINE)
_TITLE = re.compile(r"\*\*(.+?)\*\*\s*(.*)", re.DOTALL)
_MESSAGES = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OF_THIS_LEDGER = re.compile(r" --ledger [^`]+(?=`)")
"""The option that a message adds to a command, so that the command can be typed as it stands."""
UNLESS_SAID = "*Sent:* nothing."
"""The end of an entry that does not state what was sent, with exit code 2 unless it is about a program's mistake."""
SAID_ABOVE = "what the message says."
"""The advice of an entry that has none of its own."""
LEAST = 10
"""Letters that a message must share with a message of the catalogue: fewer are a coincidence."""


class Entry(NamedTuple):
    """One error, or one exit code."""

    code: str
    """``E201`` or ``exit-3``."""
    family: str
    title: str
    text: str
    """The meaning of the code and what to do, in Markdown."""
    messages: tuple[str, ...]
    """The messages that it explains, each with ``…`` for the parts that vary."""


@cache
def entries() -> dict[str, Entry]:
    """All entries by their codes, in the order of the page."""
    page = Path(__file__).with_name("troubleshooting.md").read_text(encoding="utf-8")
    families = [(found.start(), found[1]) for found in _FAMILY.finditer(page)]
    made = {}
    for found in _ENTRY.finditer(page):
        code = found[1].replace(" ", "-").replace("Exit", "exit")
        family = next(name for start, name in reversed(families) if start < found.start())
        said = _MESSAGES.search(found[2])
        title = _TITLE.match(_MESSAGES.sub("", found[2]).strip())
        assert title is not None, f"{code} has no title"  # noqa: S101 - the page is ours, and tested
        messages = tuple(said[1].splitlines()) if said else ()
        text = title[2].strip()
        if "*What to do:*" not in text:
            alone = not text or text.startswith("*Sent:*")
            text = f"*What to do:* {SAID_ABOVE + chr(10) * 2 if alone else ''}{text}".rstrip()
        if code.startswith("E") and "*Sent:*" not in text:
            text += f"\n\n{UNLESS_SAID}" + ("" if code.startswith("E9") else " *Exit code:* [2](#exit-2).")
        made[code] = Entry(code, family, " ".join(title[1].split()).rstrip("."), text, messages)
    return made


def entry(word: str) -> Entry | None:
    """The entry of a code: ``E201`` in any case, ``exit-3`` or ``3``; None if there is none."""
    word = word.strip().lower()
    code = f"exit-{word}" if word.isdecimal() else word.upper() if word.startswith("e") else word
    return entries().get(word if word.startswith("exit-") else code)


def explaining(message: str) -> Entry | None:
    """The entry that explains a message: the one that shares most of its words, None if none shares enough."""
    text = _OF_THIS_LEDGER.sub("", " ".join(message.split()))
    best, most = None, LEAST - 1
    for parts, letters, each in _patterns():
        if letters > most and _follow(parts, text):
            best, most = each, letters
    return best


@cache
def _patterns() -> list[tuple[list[str], int, Entry]]:
    return [
        (parts, sum(map(len, parts)), each)
        for each in entries().values()
        for message in each.messages
        if (parts := [part for part in _OF_THIS_LEDGER.sub("", message).split("…") if part.strip(" .,:;()")])
    ]


def _follow(parts: list[str], text: str) -> bool:
    """Whether the parts appear in a text one after another."""
    at = 0
    for part in parts:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True
