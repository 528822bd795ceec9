"""The options that say how to read a file of orders."""

import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from gotsurge_async.bulk import FileMap, SourceOptions
from gotsurge_async.bulk.sources.fields import ITEM_KEY
from gotsurge_async.cli.shared.exits import told
from gotsurge_async.money import Money


class MoneyAmount(click.ParamType[Money]):
    """An amount such as ``1000`` or ``SGD 1,000.00``, without a currency it holds for every one."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Money:
        if isinstance(value, Money):
            return value
        *currency, amount = str(value).replace(",", "").split() or [""]
        try:
            return Money.of(Decimal(amount), " ".join(currency).upper())
        except (ArithmeticError, ValueError):
            self.fail(f"{value!r} is not an amount such as 1000 or SGD 1000.00", param, ctx)


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it gets them as one `SourceOptions`, its argument ``source``."""

    @functools.wraps(command)
    def with_source(
        *,
        items: Path | None,
        format_: str | None,
        map_: Path | None,
        delimiter: str | None,
        timezone: str | None,
        key: str,
        max_price: Money | None,
        **rest: Any,
    ) -> None:
        with told():
            source = SourceOptions(
                now=datetime.now(UTC),
                format=format_,
                delimiter=delimiter,
                timezone=timezone,
                key=key,
                items=items,
                file_map=FileMap.load(map_) if map_ else FileMap(),
                max_price=max_price,
            )
        command(source=source, **rest)

    for option in (
        click.option(
            "--max-price", type=MoneyAmount(), help="The greatest price that passes.  [default: 1000 of any currency]"
        ),
        click.option("--key", default="tracking_id", show_default=True, help="The column that tells orders apart."),
        click.option("--timezone", metavar="TZ", help="Of times without one, such as Asia/Singapore."),
        click.option("--delimiter", metavar="D", help="Between two cells of the CSV, such as ; or tab."),
        click.option(
            "--map", "map_", type=click.Path(path_type=Path), metavar="MAP.toml", help="How to read other columns."
        ),
        click.option("--format", "format_", type=click.Choice(("csv", "jsonl")), help="Instead of the file's ending."),
        click.option(
            "--items", type=click.Path(path_type=Path), metavar="FILE", help="The items, a CSV joined by tracking_id."
        ),
    ):
        with_source = option(with_source)
    return with_source


def reading_words(options: Mapping[str, Any]) -> list[str]:
    """The words of these options, as they were given to a command: what its result files are to be read with again.

    Args:
        options: the parameters of the command, by their names.
    """
    words: list[str] = []
    for option, name, unless in (
        ("--items", "items", None),
        ("--map", "map_", None),
        ("--timezone", "timezone", None),
        ("--delimiter", "delimiter", None),
        ("--key", "key", ITEM_KEY),
        ("--max-price", "max_price", None),
    ):
        value = options.get(name)
        if value is not None and value != unless:
            words += [option, f"{value.currency} {value.amount}".strip() if isinstance(value, Money) else str(value)]
    return words
