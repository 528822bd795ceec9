"""``gotsurge simulator``: GotSurge on your own machine."""

import asyncio
from contextlib import suppress
from typing import Any

import click

from gotsurge_async.simulator import SWITCHES, SimulatorOptions, serve


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes any free port.")
@click.option(
    "--option",
    "switches",
    multiple=True,
    metavar="NAME=VALUE",
    help="Answer an open question of the document another way; may be given again. --options lists them.",
)
@click.option("--options", "show_options", is_flag=True, help="List what --option takes, and end.")
def simulator(port: int, switches: tuple[str, ...], show_options: bool) -> None:
    """Run a GotSurge on this machine, until Ctrl-C.

    It listens on the loopback interface only, keeps everything in memory, and starts with two accounts, plain and
    platform, whose credentials it prints. Push to it with

    \b
      gotsurge push FILE --env local --api-base URL
    """
    if show_options:
        for switch in SWITCHES.values():
            click.echo(f"{switch.name} = {' | '.join(map(str, switch.values))}\n    {switch.meaning}")
        return
    options = _options(switches)
    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(serve(port, options, announce=click.echo))
        except OSError as error:
            raise click.ClickException(f"cannot listen on port {port}: {error.strerror}") from None


def _options(switches: tuple[str, ...]) -> SimulatorOptions:
    """Read NAME=VALUE texts."""
    chosen: dict[str, Any] = {}
    for text in switches:
        name, _, value = text.partition("=")
        if name not in SWITCHES:
            raise click.BadParameter(f"there is no {name!r}: {', '.join(SWITCHES)}", param_hint="--option")
        values = {str(each).lower(): each for each in SWITCHES[name].values}
        if value.lower() not in values:
            raise click.BadParameter(f"{name} is one of {', '.join(values)}, not {value!r}", param_hint="--option")
        chosen[name] = values[value.lower()]
    return SimulatorOptions.from_mapping(chosen)
