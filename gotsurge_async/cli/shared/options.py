"""The options of commands, in the groups of their help, and options that many commands have."""

import functools
import getpass
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from unicodedata import category

import click

from gotsurge_async.cli.shared.exits import WrongUse
from gotsurge_async.cli.shared.output import AS_JSON
from gotsurge_async.money import Money

F = TypeVar("F", bound=Callable[..., Any])
Decorator: TypeAlias = Callable[[F], F]


class GroupedCommand(click.Command):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group, in the order of their first options; options without a group come last."""
        groups: dict[str, list[tuple[str, str]]] = {}
        others: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                group = getattr(parameter, "group", None)
                (others if group is None else groups.setdefault(group, [])).append(record)
        for title, records in (*groups.items(), ("Other options", others)):
            with formatter.section(title):
                formatter.write_dl(records)


class _GroupedOption(click.Option):
    def __init__(self, *words: Any, group: str | None, **attributes: Any) -> None:
        super().__init__(*words, **attributes)
        self.group = group


def option(
    words: str, text: str, *, name: str | None = None, group: str | None = None, **attributes: Any
) -> Decorator[Any]:
    """An option, as its help shows it: its words, and the text about them. The help shows its default, too.

    ``words`` are such as ``-o, --output FILE``; one without a value and a ``type`` is a flag. The command's argument
    has the ``name``, or the longest word. ``group`` is the title of its group in the help.
    """
    *others, last = words.split(", ")
    last, _, value = last.partition(" ")
    if value:
        attributes["metavar"] = value
    elif "type" not in attributes:
        attributes["is_flag"] = True
    if attributes.get("default", "") != "":
        attributes.setdefault("show_default", True)
    return click.option(*others, last, *filter(None, (name,)), cls=_GroupedOption, group=group, help=text, **attributes)


def in_group(title: str) -> Callable[..., Decorator[Any]]:
    """`option` for the options of one group."""
    return functools.partial(option, group=title)


def together(*options: Decorator[Any]) -> Decorator[Any]:
    """Combine several options into one decorator, in this order."""

    def decorate(command: Any) -> Any:
        for decorator in reversed(options):
            command = decorator(command)
        return command

    return decorate


def gathered(name: str, make: Callable[..., Any], *options: Decorator[Any]) -> Decorator[Any]:
    """Combine several options into one decorator; the command gets the result of ``make`` as its argument ``name``."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_gathered(**values: Any) -> Any:
            mine = {option: values.pop(option) for option in names}
            return command(**{name: make(**mine)}, **values)

        before = len(getattr(command, "__click_params__", ()))
        decorated: Any = together(*options)(with_gathered)
        names = [str(parameter.name) for parameter in decorated.__click_params__[before:]]
        return with_gathered

    return decorate


def amount(text: str) -> Money:
    """The amount in a text such as ``1000`` (of any currency) or ``SGD 1,000.00``; BadParameter if it is none."""
    *currency, number = text.replace(",", "").split() or [""]
    try:
        return Money.of(Decimal(number), " ".join(currency).upper())
    except (ArithmeticError, ValueError):
        raise click.BadParameter(f"{text!r} is not an amount such as 1000 or SGD 1000.00") from None


def person(text: str) -> str:
    """The name of a person, without spaces around it; BadParameter if it is empty, or has a line break."""
    name = text.strip()
    if not (name and all(letter.isprintable() or category(letter) == "Zs" for letter in name)):
        raise click.BadParameter(f"{text!r} is not a name: give visible characters, on one line")
    return name


PATH = click.Path(path_type=Path)

THE_FILE = "The file"
SENDING = "Sending"
STOPPING = "Stopping"
WHERE = "Where to"
OUTPUT = "Ledger, results and output"


def _keep_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[AS_JSON] = value


def json_option_with(text: str) -> Decorator[Any]:
    """``--json`` with another help text; `as_json` returns whether it was used."""
    return in_group(OUTPUT)("--json", text, name="as_json", expose_value=False, callback=_keep_json)


json_option: Decorator[Any] = json_option_with("Print one JSON document, for programs.")
timezone_option: Decorator[Any] = in_group(THE_FILE)(
    "--timezone TZ", "The time zone of times that name none, such as Asia/Singapore, and of times that are shown."
)
max_price_option: Decorator[Any] = in_group(THE_FILE)(
    "--max-price",
    "The highest price of an order; a higher one is a fault.  [default: 1000 of any currency]",
    type=amount,
)


def port_option(default: int, when: str = "", group: str | None = None) -> Decorator[Any]:
    """The option of a command that listens; ``when`` ends "to listen at", such as " with --serve"."""
    text = f"The port to listen at{when}; 0 takes any that is free."
    return option("--port PORT", text, type=click.IntRange(0, 65535), default=default, group=group)


force_option: Decorator[Any] = option("--force", "Replace FILE if it exists.")


def user_name() -> str:
    """The name of the user on this machine, for decisions that are recorded with a name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        raise WrongUse("give your name: --by NAME", "E611") from None
