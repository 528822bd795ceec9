"""The zone in which times are told to people, and in which days begin."""

from typing import Any
from zoneinfo import ZoneInfo

import click

from gotsurge_async.cli.shared.options import OUTPUT, Decorator, in_group
from gotsurge_async.errors import ConfigError

PORT = "Asia/Singapore"
"""Where the ships are, unless told otherwise."""


def _zone(_: click.Context, __: click.Parameter, name: str) -> ZoneInfo:
    from gotsurge_async.bulk.sources.maps.column_map import zone_named

    try:
        return zone_named(name) or ZoneInfo(PORT)
    except ConfigError as error:
        raise click.UsageError(f"--timezone: {error}") from None


zone_option: Decorator[Any] = in_group(OUTPUT)(
    "--timezone",
    "zone",
    metavar="TZ",
    default=PORT,
    show_default=True,
    callback=_zone,
    help="The time zone in which times are shown, and in which days begin.",
)
