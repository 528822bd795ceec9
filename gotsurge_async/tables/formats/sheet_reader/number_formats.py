"""The text that a sheet shows of a whole number, such as MV-0042 for 42, by the number's format."""

import re
from typing import NamedTuple

# A quoted text, an escaped character, a space as wide as one, a filling, a colour, language or condition, or any other.
_PIECE = re.compile(r'"([^"]*)"?|\\(.)|_.|\*.|\[([^\]]*)\]|General|.', re.DOTALL | re.IGNORECASE)
_NOT_WHOLE = frozenset("dmyhsbge.,%?/@")
"""Signs of dates, of amounts and of texts, which are read as their values."""
_COLOURS = re.compile(r"black|blue|cyan|green|magenta|red|white|yellow|colou?r ?\d+", re.IGNORECASE)
_NUMBER = "General"
_ZEROS = re.compile(r"0{2,20}(?:;@)?")


class NumberFormat(NamedTuple):
    """A format of whole numbers that shows more than their digits.

    Attributes:
        parts: its digits, each 0 or #, and its other texts, each after a quote; None if they depend on the number.
        is_of_codes: whether it only adds zeros, which are a part of the value, as of a zip code.
        is_of_zero: whether it is also the format of the number 0.
    """

    parts: tuple[str, ...] | None
    is_of_codes: bool
    is_of_zero: bool

    def shown(self, number: str) -> str:
        """The text that is shown of a number; "" if that is not known."""
        if self.parts is None or not number.isdecimal() or (number == "0" and not self.is_of_zero):
            return ""
        rest, text = number, ""
        places = [place for place, part in enumerate(self.parts) if not part.startswith('"')]
        for place in range(len(self.parts) - 1, -1, -1):
            part = self.parts[place]
            if part.startswith('"'):
                text = part[1:] + text
            elif place == places[0] or part == _NUMBER:
                text, rest = (rest or "0" * (part == "0")) + text, ""
            else:
                text, rest = (rest[-1:] or "0" * (part == "0")) + text, rest[:-1]
        return text.strip()


def number_format(code: str) -> NumberFormat | None:
    """The format with this code; None if it shows a whole number's digits alone, or if it is one of other values."""
    parts: list[str] = []
    is_certain, others = True, ""
    for piece in _PIECE.finditer(code):
        quoted, escaped, bracket, text = *piece.groups(), piece[0]
        if quoted is not None or escaped is not None:
            parts.append(f'"{quoted or escaped or ""}')
        elif bracket is not None:
            if bracket.startswith("$"):
                parts.append(f'"{bracket[1:].partition("-")[0]}')
            elif not _COLOURS.fullmatch(bracket):
                is_certain = False
        elif text == ";":
            others = code[piece.end() :]
            break
        elif text in "0#" or text.casefold() == _NUMBER.casefold():
            parts.append(_NUMBER if len(text) > 1 else text)
        elif text.lower() in _NOT_WHOLE:
            return None
        elif text[0] not in "_*":
            parts.append(f'"{text}')
    parts = [part for part in parts if part != '"']
    digits = [part for part in parts if not part.startswith('"')]
    if not digits or (len(digits) == len(parts) and "0" not in digits[1:]):
        return None
    return NumberFormat(tuple(parts) if is_certain else None, bool(_ZEROS.fullmatch(code)), ";" not in others)
