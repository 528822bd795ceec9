"""``python -m tests.catalogue`` writes the messages of the source into the entries of the catalogue.

A message goes to the entry of its code. A message whose code is not in the source, as that of a Python error, stays in
the entry in which a person put it.
"""

import re

from tests.catalogue.texts import PACKAGE, told_codes

PAGE = PACKAGE / "catalogue" / "troubleshooting.md"
OF_OTHERS = {
    "Got unexpected extra argument…",
    "Invalid value for …: …",
    "Invalid value: …",
    "Missing argument …",
    "Missing command",
    "Missing option …",
    "Missing parameter: …",
    "No such command …",
    "No such option …",
    "No such option: …",
    "Option … does not take a value",
    "Option … requires an argument",
    *(
        f"…: HTTP {status}…"
        for status in (301, 302, 303, 307, 308, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504)
    ),
}
"""Messages of click, and those of answers with such a status. A person puts them into their entries."""
_ENTRY = re.compile(r"^### (E\d{3})\n.*?(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"\n```text\n(.*?)```\n", re.DOTALL)


def with_messages(page: str) -> str:
    """The page with each message of the source in its entry, in the present order, new ones last.

    Raises:
        LookupError: a message has no code, or two; or its code has no entry.
    """
    present = {entry[1]: _messages(entry[0]) for entry in _ENTRY.finditer(page)}
    placed = {message: code for code, messages in present.items() for message in messages}
    homes = {message: _home(message, codes, placed) for message, codes in told_codes().items()}
    if without := set(homes.values()) - set(present):
        raise LookupError(f"{', '.join(sorted(without))}: write an entry")

    def filled(entry: re.Match[str]) -> str:
        code = entry[1]
        stay = [each for each in dict.fromkeys(present[code]) if each in OF_OTHERS or homes.get(each) == code]
        new = sorted(message for message, home in homes.items() if home == code and message not in stay)
        return "\n".join([_BLOCK.sub("", entry[0]).rstrip(), "", "```text", *stay, *new, "```", "\n"])

    return _ENTRY.sub(filled, page).rstrip() + "\n"


def _messages(entry: str) -> list[str]:
    block = _BLOCK.search(entry)
    return block[1].splitlines() if block else []


def _home(message: str, codes: set[str | None], placed: dict[str, str]) -> str:
    """The code of the entry of a message."""
    own = codes - {"…"} or {placed.get(message)}
    code = own.pop()
    if own or code is None:
        raise LookupError(f"{message!r} has no code, or two: give it one in the source, or put it into an entry")
    return code


if __name__ == "__main__":
    PAGE.write_text(with_messages(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
