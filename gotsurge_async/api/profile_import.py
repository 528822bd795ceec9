"""From anybody's OpenAPI document of the API to a profile: which of its operations is which of ours.

What tells them apart: the title, the group, the fields of the bodies, the words of the path, the verb. A match that
rests on too little, or that has a rival, is unsure: it is told, and left out of the profile, because a profile's word
is what lets production create orders.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from gotsurge_async.api.endpoints import ENDPOINTS, Endpoint
from gotsurge_async.api.openapi import document
from gotsurge_async.api.openapi_reader import Operation, read_document
from gotsurge_async.api.profile import Profile
from gotsurge_async.errors import ConfigError

LEAST = 0.45
"""The score under which two operations have nothing to do with each other."""
SURE = 0.62
"""The score from which a match without a rival counts."""
MARGIN = 0.06
"""How far the next best must be behind."""
LEAST_SHAPE = 0.5
"""How much of the bodies must agree for a match to be sure: a title alone may belong to another API."""
_TELLING = 3
"""How many fields a body must have to be compared by what it has alone."""
_OUR_NAME = 0.9
"""What agreement with our own name of an operation is worth, against agreement with the document's title."""
_WEIGHTS = {"title": 0.45, "tag": 0.15, "request": 0.12, "response": 0.1, "path": 0.12, "verb": 0.06}

_OUR_WORDS = {
    "get": "detail read show view fetch",
    "create": "post add new",
    "update": "patch edit",
    "organization": "org organisation",
    "recommend": "recommendation",
}
_SAME_WORD: Mapping[str, str] = {theirs: ours for ours, others in _OUR_WORDS.items() for theirs in others.split()}
_NO_WORD = frozenset({"a", "an", "and", "api", "associated", "by", "for", "from", "id", "of", "the", "to", "with"})


@attrs.frozen(kw_only=True)
class Match:
    """One of our operations, and what it is in the document.

    Attributes:
        endpoint: ours.
        found: theirs.
        path: their path, with our names in the braces.
        score: 0 to 1.
        doubt: why it is unsure; "" for a match that counts.
    """

    endpoint: Endpoint[Any]
    found: Operation
    path: str
    score: float
    doubt: str = ""

    @property
    def sure(self) -> bool:
        """Whether the profile takes it up."""
        return not self.doubt


@attrs.frozen(kw_only=True)
class Imported:
    """What became of a document: matches in the order of our table, and what has no counterpart on either side."""

    title: str
    servers: tuple[str, ...]
    matches: tuple[Match, ...]
    missing: tuple[Endpoint[Any], ...]
    left_over: tuple[Operation, ...]

    @property
    def sure(self) -> tuple[Match, ...]:
        """The matches that the profile takes up."""
        return tuple(match for match in self.matches if match.sure)

    @property
    def unsure(self) -> tuple[Match, ...]:
        """The matches for a person to decide."""
        return tuple(match for match in self.matches if not match.sure)

    def profile(self, api_base: str | None = None) -> Profile:
        """The profile of what is sure."""
        overrides = {match.endpoint.name: {"verb": match.found.verb, "path": match.path} for match in self.sure}
        return Profile.from_mapping({"endpoints": overrides, **({"api_base": api_base} if api_base else {})})


def import_document(content: Any) -> Imported:
    """Match the operations of a document, given as plain values, to ours.

    Raises:
        ConfigError: it is no OpenAPI document.
    """
    described = read_document(content)
    scores = _Scores(_ours(), described.operations)
    endpoints = tuple(ENDPOINTS.values())
    return Imported(
        title=described.title,
        servers=described.servers,
        matches=tuple(_match(endpoints[mine], scores, mine, other) for mine, other in sorted(scores.pairs.items())),
        missing=tuple(each for mine, each in enumerate(endpoints) if mine not in scores.pairs),
        left_over=tuple(each for other, each in enumerate(described.operations) if other not in scores.pairs.values()),
    )


@functools.cache
def _ours() -> tuple[Operation, ...]:
    """Our own operations, as our own document tells of them."""
    return read_document(document()).operations


def _match(endpoint: Endpoint[Any], scores: "_Scores", mine: int, other: int) -> Match:
    found = scores.theirs[other]
    theirs, ours = found.path_names, scores.ours[mine].path_names
    path = found.path
    if len(theirs) != len(ours):
        theirs_text, ours_text = (", ".join(names) or "nothing" for names in (theirs, ours))
        doubt = f"its path names {theirs_text}, where we have {ours_text}"
    else:
        path = found.path_with(ours)
        doubt = scores.doubt(mine, other) or _unconfirmed(endpoint, found, path)
    return Match(endpoint=endpoint, found=found, path=path, score=scores.of(mine, other), doubt=doubt)


def _unconfirmed(endpoint: Endpoint[Any], found: Operation, path: str) -> str:
    """Why a profile cannot take up a match that is right: "" where it can."""
    if found.assumed and (found.verb, path) == (endpoint.verb, endpoint.path):
        # Our own document repeats what we assume: that is no confirmation.
        return "the document itself calls it assumed"
    try:
        Profile.from_mapping({"endpoints": {endpoint.name: {"verb": found.verb, "path": path}}})
    except ConfigError as error:
        return str(error)
    return ""


# --- scores ----------------------------------------------------------------------------------------------------------


class _Scores:
    """How well each of our operations fits each of theirs, 0 to 1."""

    def __init__(self, ours: Sequence[Operation], theirs: Sequence[Operation]) -> None:
        self.ours = ours
        self.theirs = theirs
        self._scores = [[_score(mine, other) for other in theirs] for mine in ours]
        # The verb decides between two that are otherwise alike, but nobody should be sure because of it.
        self._without_verb = [[_score(mine, other, "verb") for other in theirs] for mine in ours]
        self.pairs = self._assigned()
        """One of theirs for each of ours that has any."""

    def of(self, mine: int, other: int) -> float:
        """The score of a pair."""
        return self._scores[mine][other]

    def doubt(self, mine: int, other: int) -> str:
        """Why a pair may be wrong, "" if it counts."""
        ours, theirs = self.ours[mine], self.theirs[other]
        shape = _known(ours.request, theirs.request) if ours.request else _known(ours.response, theirs.response)
        if self.of(mine, other) < SURE or shape < LEAST_SHAPE:
            return "too little agrees"
        rival = self._rival(mine, other)
        return f"{rival} fits about as well" if rival else ""

    def _assigned(self) -> dict[int, int]:
        """The best pairs first."""
        ranked = sorted(
            ((score, -mine, -other) for mine, row in enumerate(self._scores) for other, score in enumerate(row)),
            reverse=True,
        )
        pairs: dict[int, int] = {}
        for score, mine, other in ranked:
            if score >= LEAST and -mine not in pairs and -other not in pairs.values():
                pairs[-mine] = -other
        return pairs

    def _rival(self, mine: int, other: int) -> str:
        """Another pairing that is nearly as good: one of theirs or ours that is free, or two pairs changed over."""
        scores, pairs = self._without_verb, self.pairs
        most = scores[mine][other] - MARGIN
        for index, theirs in enumerate(self.theirs):
            if index not in pairs.values() and scores[mine][index] > most:
                return str(theirs)
        for index, ours in enumerate(self.ours):
            if index not in pairs and scores[index][other] > most:
                return ours.titles[0]
        for mine2, other2 in pairs.items():
            changed = scores[mine][other2] + scores[mine2][other]
            if mine2 != mine and changed > most + scores[mine2][other2]:
                return str(self.theirs[other2])
        return ""


def _score(ours: Operation, theirs: Operation, without: str = "") -> float:
    """Each kind of evidence by its weight; what their document does not say at all does not count."""
    agreed = {
        "title": _title(ours, theirs) if theirs.titles else None,
        "tag": float(bool({*map(_words, ours.tags)} & {*map(_words, theirs.tags)})) if theirs.tags else None,
        "request": _shared(ours.request, theirs.request),
        "response": _shared(ours.response, theirs.response) if theirs.response else None,
        "path": _path(ours, theirs),
        "verb": float(ours.verb == theirs.verb),
    }
    said = {name: value for name, value in agreed.items() if value is not None and name != without}
    return sum(_WEIGHTS[name] * value for name, value in said.items()) / sum(_WEIGHTS[name] for name in said)


def _title(ours: Operation, theirs: Operation) -> float:
    """The best agreement of any of their titles with the document's own title, or nearly as good with our name."""
    title, name = map(_words, ours.titles)
    return max(max(_shared(title, other), _OUR_NAME * _shared(name, other)) for other in map(_words, theirs.titles))


def _path(ours: Operation, theirs: Operation) -> float:
    mine, other = (_words(re.sub(r"\{[^{}]*\}", " ", each.path)) for each in (ours, theirs))
    return (_shared(mine, other) + (len(ours.path_names) == len(theirs.path_names))) / 2


def _shared(mine: frozenset[str], other: frozenset[str]) -> float:
    """How much two sets have in common, 0 to 1 (Dice); two empty ones agree."""
    return 2 * len(mine & other) / (len(mine) + len(other)) if mine or other else 1.0


def _known(mine: frozenset[str], other: frozenset[str]) -> float:
    """How much of the bodies agrees: of both together, or of theirs alone where it says little but more than a word."""
    known = len(mine & other) / len(other) if len(other) >= _TELLING else 0.0
    return max(_shared(mine, other), known)


def _words(text: str) -> frozenset[str]:
    """The words that tell something, in lower case and the singular, each by the one that we use for it."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    words = [word.lower() for word in re.findall(r"[A-Za-z]+", spaced)]
    singular = {word if word.endswith("ss") else word.removesuffix("s") for word in words} - _NO_WORD
    return frozenset(_SAME_WORD.get(word, word) for word in singular)


# --- writing ---------------------------------------------------------------------------------------------------------


def profile_text(imported: Imported, *, api_base: str | None = None) -> str:
    """The profile as TOML; what is unsure or missing stands in it as comments, for a person to complete."""
    lines = [f"# Made from: {_one_line(imported.title)}", ""]
    if api_base:
        lines += [f"api_base = {_quoted(api_base)}", ""]
    for match in imported.sure:
        lines += [*_entry(match), ""]
    if imported.unsure:
        lines += ["# Unsure: compare each with the document, and take the # signs away where it is right.", ""]
        for match in imported.unsure:
            lines += [f"# {_one_line(match.doubt)}", *(f"# {line}" for line in _entry(match)), ""]
    if imported.missing:
        lines += ["# Not found:", *(f"# {each.name} ({each.section})" for each in imported.missing), ""]
    return "\n".join(lines)


def _entry(match: Match) -> list[str]:
    title = match.found.titles[0] if match.found.titles else str(match.found)
    return [
        f"[endpoints.{_quoted(match.endpoint.name)}]  # {_one_line(title)}",
        f"verb = {_quoted(match.found.verb)}",
        f"path = {_quoted(match.path)}",
    ]


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's too."""
    return json.dumps(text).replace("\x7f", "\\u007f")


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]
