"""``gotsurge simulator``: GotSurge on your own machine."""

from contextlib import suppress
from typing import Any
from urllib.parse import quote

import click
from msgspec import Struct, structs

from gotsurge_async.cli.shared.connect import Refusal, ask_simulator
from gotsurge_async.cli.shared.exits import Exit, Failure, WrongUse
from gotsurge_async.cli.shared.options import json_option, option, port_option
from gotsurge_async.cli.shared.output import filled, print_one
from gotsurge_async.errors import Coded
from gotsurge_async.simulator import SWITCHES, Life, SimulatorOptions, serve
from gotsurge_async.system import loops

PORT = 8765


@click.group(invoke_without_command=True)
@port_option(PORT)
@option("--life", "Let drivers accept, pick up and deliver the orders, as the simulator's clock goes on.")
@option(
    "--speed FACTOR", "How fast the simulator's clock goes: with 60 an hour takes a minute.", type=float, default=1.0
)
@option(
    "--seed N",
    "The seed of all chance: the same seed makes drivers do the same.",
    type=click.IntRange(min=1),
    default=1,
)
@option("--webhook-url URL", "The address to which the events of both accounts are sent.", default="")
@option("--webhooks-anywhere", "Let --webhook-url lead to another machine.")
@option(
    "--option NAME=VALUE",
    "Behave in another way where the document is open; may be given several times. --options lists the ways.",
    name="switches",
    multiple=True,
)
@option("--options", "List what --option takes, and end.", name="show_options")
@click.pass_context
def simulator(
    ctx: click.Context,
    port: int,
    life: bool,
    speed: float,
    seed: int,
    webhook_url: str,
    webhooks_anywhere: bool,
    switches: tuple[str, ...],
    show_options: bool,
) -> None:
    """Run a GotSurge on this machine, until Ctrl-C or SIGTERM.

    It listens on the loopback interface only, keeps everything in memory, and starts with two accounts, plain and
    platform, whose credentials it prints, with the address of its board. Push to it with

    \b
      gotsurge push FILE --env local --api-base URL
    """
    if ctx.invoked_subcommand is not None:
        return
    if show_options:
        for switch in SWITCHES.values():
            click.echo(filled(f"{switch.name} = {' | '.join(map(str, switch.values))}"))
            click.echo(filled(switch.meaning, indent=4))
        return
    chosen: dict[str, Any] = {
        **_switches(switches),
        "life": Life() if life else None,
        "speed": speed,
        "seed": seed,
        "webhook_url": webhook_url,
        "webhooks_anywhere": webhooks_anywhere,
    }
    with suppress(KeyboardInterrupt):
        try:
            loops.run(serve(port, SimulatorOptions(**chosen), announce=click.echo))
        except ValueError as error:
            raise WrongUse(str(error), "E852") from None
        except OSError as error:
            raise click.ClickException(Coded(f"cannot listen on port {port}: {error.strerror}", "E111")) from None


class Moved(Struct):
    """The statuses that a task of a simulator has entered, in their order."""

    id: str
    entered: list[str]


@simulator.command(short_help="Take a task to another status.")
@click.argument("task")
@click.argument("status")
@option("--port PORT", "The port of the simulator.", type=click.IntRange(1, 65535), default=PORT)
@option("--through", "Go through all the statuses that lie between.")
@option("--force", "Take the task also to a status that cannot follow by GotSurge's document.")
@option("--note", "A note beside the status in the task's statuses.", default="", type=str)
@json_option
def trigger(task: str, status: str, port: int, through: bool, force: bool, note: str) -> None:
    """Take TASK of a running simulator to STATUS, as a driver or an operator would; its event is sent.

    TASK is a task id, or a tracking id that only one task has.
    """
    change = {"status": status, "through": through, "force": force, "note": note}
    url = f"http://127.0.0.1:{port}/_simulator/tasks/{quote(task, safe='')}/status"
    answer = loops.run(ask_simulator(url, change, Moved))
    if isinstance(answer, Refusal):
        raise Failure(Coded(answer.message, "E102"), Exit.REFUSED)
    print_one(structs.asdict(answer), f"{answer.id}\t{', '.join(answer.entered)}")


def _switches(switches: tuple[str, ...]) -> dict[str, Any]:
    """Read NAME=VALUE texts."""
    chosen: dict[str, Any] = {}
    for text in switches:
        name, _, written = text.partition("=")
        if name not in SWITCHES:
            raise click.BadParameter(f"there is no {name!r}: {', '.join(SWITCHES)}", param_hint="--option")
        values = {str(value).lower(): value for value in SWITCHES[name].values}
        if written.lower() not in values:
            raise click.BadParameter(
                f"{name} must be one of {', '.join(values)}, not {written!r}", param_hint="--option"
            )
        chosen[name] = values[written.lower()]
    return chosen
