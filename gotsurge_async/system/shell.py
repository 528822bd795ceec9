"""Quotes the words of commands that people type."""

import os
import shlex


def word(text: str) -> str:
    """Quote a word so that a shell reads it as one; the shell of Windows does not know single quotes."""
    if os.name != "nt":
        return shlex.quote(text)
    return text if text and not set(text) & set(" \t&()^;,=%!'`") else f'"{text}"'
