"""Ctrl-C and SIGTERM while the command ``gotsurge`` is still being loaded: the command ends immediately, without a
traceback. Afterwards both are raised, and a command may do something before it ends.

Loading takes some tenths of a second, and begins with the package's front; so this is the first thing that it imports.
In a program that imports the package as a library nothing is touched.
"""

import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import FrameType
from typing import Any, AnyStr, NoReturn, TypeAlias, cast

_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
if _break := getattr(signal, "SIGBREAK", None):  # Ctrl-Break on Windows
    _CODES[_break] = 143
_UNTOUCHED = (signal.SIG_DFL, signal.default_int_handler)


def _is_command() -> bool:
    """Whether this process runs the command ``gotsurge``, as a script or as ``python -m``."""
    name = sys.argv[0] if sys.argv else ""
    if name == "-m":  # what it stands for is still being looked for
        words = sys.orig_argv
        return "-m" in words and words[words.index("-m") + 1 :][:1] == [__name__.partition(".")[0]]
    return name.replace("\\", "/").rpartition("/")[2].removesuffix(".exe") == "gotsurge"


def _leave(number: int, _: FrameType | None) -> None:
    os._exit(_CODES[signal.Signals(number)])  # nothing was begun that would have to be ended


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: the command ends as at Ctrl-C, but with another exit code."""


def terminate(*_: object) -> NoReturn:
    """Handle SIGTERM: raise Terminated."""
    raise Terminated


def heed_interrupts() -> None:
    """Raise Ctrl-C as KeyboardInterrupt again, and SIGTERM as Terminated."""
    for number in _CODES:
        if signal.getsignal(number) is _leave:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else terminate)


Lazy: TypeAlias = Callable[[str], Any]
"""Returns a name of a package, after importing the module that defines it."""


def lazily(package: str, homes: Mapping[str, str]) -> Lazy:
    """Return the ``__getattr__`` of a package, which imports the module of a name when the name is first used.

    ``homes`` has by module, without the name of this package, the names that it defines, with spaces between them.
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__package__}.{home_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get


class _Uncompiled:
    """A regular expression that is compiled when one of its methods is first used."""

    def __init__(self, *source: Any) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(*self._source), name)
        setattr(self, name, value)
        return value


def pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """`re.compile` at the first use: a push uses few of its modules' expressions."""
    return cast("re.Pattern[AnyStr]", _Uncompiled(text, flags))


if _is_command():
    for _number in _CODES:
        # One that the parent lets us ignore, as nohup does, stays ignored.
        if signal.getsignal(_number) in _UNTOUCHED:
            signal.signal(_number, _leave)
