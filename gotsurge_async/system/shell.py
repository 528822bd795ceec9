"""Quotes the words of commands that people type."""

import os
import shlex


def word(text: str) -> str:
    """Quote a word so that a shell reads it as one; the shell of Windows does not know single quotes.

    Characters that cannot be printed, such as line breaks, are escaped as bash and zsh write them.
    """
    if os.name != "nt":
        return shlex.quote(text) if text.isprintable() else f"$'{''.join(map(_escaped, text))}'"
    return text if text and not set(text) & set(" \t&()^;,=%!'`") else f'"{text}"'


def _escaped(letter: str) -> str:
    if letter.isprintable():
        return f"\\{letter}" if letter in "\\'" else letter
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(letter))
