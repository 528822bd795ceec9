"""The options that say what stops a push before its end."""

import functools
from collections.abc import Callable
from typing import Any

import click

from gotsurge_async.bulk import Brakes
from gotsurge_async.bulk.send.brakes import DOUBTS_IN_A_ROW, REFUSALS_IN_A_ROW
from gotsurge_async.cli.shared.reading import MoneyAmount
from gotsurge_async.money import Money


def brake_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it gets them as one `Brakes`, its argument ``brakes``."""

    @functools.wraps(command)
    def with_brakes(
        *,
        max_errors: int | None,
        max_in_doubt: int | None,
        max_spend: Money | None,
        stop_after_doubts: int,
        stop_after_refusals: int,
        **rest: Any,
    ) -> None:
        brakes = Brakes(
            max_errors=max_errors,
            max_in_doubt=max_in_doubt,
            max_spend=max_spend,
            doubts_in_a_row=stop_after_doubts or None,
            refusals_in_a_row=stop_after_refusals or None,
        )
        command(brakes=brakes, **rest)

    for option in (
        click.option(
            "--stop-after-refusals",
            type=click.IntRange(0),
            default=REFUSALS_IN_A_ROW,
            show_default=True,
            metavar="N",
            help="Stop when so many calls in a row are refused, 0 for never.",
        ),
        click.option(
            "--stop-after-doubts",
            type=click.IntRange(0),
            default=DOUBTS_IN_A_ROW,
            show_default=True,
            metavar="N",
            help="Stop when so many calls in a row are in doubt, 0 for never.",
        ),
        click.option("--max-spend", type=MoneyAmount(), help="Stop before the sum of the prices goes above."),
        click.option("--max-in-doubt", type=click.IntRange(0), metavar="N", help="Stop when more are in doubt."),
        click.option("--max-errors", type=click.IntRange(0), metavar="N", help="Stop when more are refused."),
    ):
        with_brakes = option(with_brakes)
    return with_brakes
