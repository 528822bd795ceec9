"""``gotsurge endpoints``: the table of operations, and the profile that confirms it."""

from pathlib import Path

import click

from gotsurge_async.api.openapi import document_text
from gotsurge_async.api.profile import Profile, skeleton
from gotsurge_async.cli.shared.options import PATH, force_option, json_option, option
from gotsurge_async.cli.shared.output import output_to, print_list, prose

_profile_option = option(
    "--profile FILE",
    "A profile of confirmed verbs and paths (or GOTSURGE_PROFILE).",
    type=PATH,
    envvar="GOTSURGE_PROFILE",
)
_output_option = option("-o, --output FILE", "Write to FILE, not to standard output.", type=PATH)


@click.group()
def endpoints() -> None:
    """Which verbs and paths are used, and which of them are confirmed.

    GotSurge's published page shows neither verbs nor paths. Until a profile confirms them they are assumed, and in
    production nothing is created, broadcast, cancelled or changed on an assumed path unless you say so. Partners can
    download an OpenAPI file from that page: write its verbs and paths into a profile, and name the profile in
    GOTSURGE_PROFILE.
    """


@endpoints.command("list")
@_profile_option
@json_option
def list_(profile: Path | None) -> None:
    """Show every operation: verb, path, and what is assumed.

    "replay" says what may be done when an answer was lost: safe = repeat; never = a repeat may act twice; converge =
    read first; harmless = a repeat leaves an unused draft.
    """
    rows = [
        {
            "operation": endpoint.name,
            "verb": endpoint.verb,
            "path": endpoint.path,
            "bearer": endpoint.bearer,
            "replay": endpoint.replay.value,
            "assumed": endpoint.assumed,
        }
        for endpoint in _load(profile)
    ]
    columns = [prose(name) if name == "path" else name for name in rows[0]]
    print_list(rows, columns, [list(row.values()) for row in rows])


@endpoints.command(short_help="Write an OpenAPI document of all operations.")
@_output_option
@_profile_option
def openapi(output: Path | None, profile: Path | None) -> None:
    """Write an OpenAPI document of the operations, as they are known here.

    It is this program's own document, not GotSurge's: what is assumed is marked with x-gotsurge-assumed.
    """
    with output_to(output, force=True) as file:
        file.write(document_text(_load(profile)).encode())


@endpoints.command(short_help="Write a profile to fill in.")
@_output_option
@force_option
def profile(output: Path | None, force: bool) -> None:
    """Write a profile of all operations, to be filled in.

    Each operation stands in it as a comment, with the verb and the path that are assumed. Correct what is wrong, and
    take the # signs away from what GotSurge confirms: an operation without them counts as confirmed.
    """
    with output_to(output, force=force) as file:
        file.write(skeleton().encode())


def _load(profile: Path | None) -> Profile:
    return Profile() if profile is None else Profile.load(profile)
