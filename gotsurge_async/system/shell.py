"""Words of commands that people are to type."""

import os
import shlex


def word(text: str) -> str:
    """A word as a shell takes it whole: Windows' own one does not know single quotes."""
    if os.name != "nt":
        return shlex.quote(text)
    return text if text and not set(text) & set(" \t&()^;,=%!'`") else f'"{text}"'
