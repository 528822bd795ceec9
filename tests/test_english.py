"""Plain English: words that no speaker uses as names or nouns stay out of the package's code, comments and messages."""

import re
from pathlib import Path

import pytest

import gotsurge_async

PACKAGE = Path(gotsurge_async.__file__).parent
TEXTS = {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}

INSTEAD = {
    "told": "reported, described, distinguished",
    "for ever": "until cancelled",
    "let in": "admitted",
    "let go": "released",
    "taken up": "resumed",
    "take up": "resume",
    "gives back": "returns",
    "the books": "the record",
    "comes to pass": "takes effect",
    "goes on": "continues",
    "somebody": "a person, another process",
}
"""A word, and what to write instead."""
ALLOWED = {
    ("simulator/options.py", "told"): 4,  # a value of two switches, which users write
}
"""How often a word may stand in a file."""
MOST = {"goes on": 18, "somebody": 2}
"""What is left of a word in all files: the number may only fall."""


@pytest.mark.parametrize("word", INSTEAD)
def test_a_word_that_nobody_speaks_is_not_written(word: str) -> None:
    """Each has a plain one, which says who does what."""
    pattern = re.compile(rf"\b{word}\b", re.IGNORECASE)
    counts = {name: len(pattern.findall(text)) - ALLOWED.get((name, word), 0) for name, text in TEXTS.items()}
    places = sorted(name for name, count in counts.items() if count > 0)
    assert sum(counts[name] for name in places) <= MOST.get(word, 0), f"write {INSTEAD[word]}: {', '.join(places)}"
