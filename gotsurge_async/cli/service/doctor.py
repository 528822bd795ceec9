"""``gotsurge doctor``: what this machine would do, on which assumptions, and whether GotSurge answers."""

import asyncio

import click

from gotsurge_async.api.assumptions import ASSUMPTIONS
from gotsurge_async.cli.shared.calls import takes_target
from gotsurge_async.cli.shared.connect import Target, how_to_sign_in
from gotsurge_async.cli.shared.diagnosis import Diagnosis, diagnose
from gotsurge_async.cli.shared.exits import Exit, Failure, told
from gotsurge_async.cli.shared.output import json_option, print_json, print_record, shown


@click.command()
@takes_target
@click.option("--offline", is_flag=True, help="Send nothing.")
@json_option
def doctor(target: Target, offline: bool, as_json: bool) -> None:
    """Show the environment, the profile, the token and every assumption, and see whether GotSurge answers.

    It sends nothing but GETs that change nothing: Partner Detail, if the credentials are known; the detail of a task
    that cannot exist; and a path that cannot exist, to tell a wrong path from a wrong task. Tokens and keys are never
    shown, and no token is renewed. Without --env the environment is GOTSURGE_ENV, else sandbox.

    \b
    Exit codes:
      0 GotSurge answers as it should
      1 it does not answer, or not on these paths
      2 settings that cannot be right
      4 there is no token, or it is refused
    """
    if target.simulate:
        target.check()
    with told():
        try:
            found = asyncio.run(diagnose(target, offline=offline))
        except KeyboardInterrupt:
            raise Failure("interrupted", Exit.INTERRUPTED) from None
    if as_json:
        print_json(found.document())
    else:
        _tell(found, target)
    raise SystemExit(int(found.exit_code))


def _tell(found: Diagnosis, target: Target) -> None:
    environment = found.environment
    assumed = f"{len(found.assumed)} of {len(found.assumed) + len(found.confirmed)} operations are assumed"
    print_record(
        [
            ("environment", environment["name"] + (" (production)" if environment["production"] else "")),
            ("API base", f"{environment['api_base']} ({environment['api_base_is']})"),
            ("consent page", environment["consent_page"]),
            ("profile", environment["profile"] or "none"),
            ("endpoints", f"{assumed} (gotsurge endpoints list)" if found.assumed else "all confirmed by the profile"),
            ("credentials", _credentials(found)),
            ("token", _token(found, how_to_sign_in(environment["name"], target.account, target.api_base))),
            *((f"probe {probe.operation}", f"{probe.request}: {probe.verdict}") for probe in found.probes),
            ("versions", ", ".join(f"{name} {version}" for name, version in found.versions.items())),
        ]
    )
    click.echo("\nWhat GotSurge's document leaves open, and what is done about it:")
    print_record(ASSUMPTIONS.items())


def _credentials(found: Diagnosis) -> str:
    if not found.credentials["client_key"]:
        return "none"
    return "client key and secret key" if found.credentials["secret_key"] else "client key, no secret key"


def _token(found: Diagnosis, how: str) -> str:
    token = found.token
    if token["state"] == "none":
        return token["trouble"] or f"none for {token['account']}: {how}"
    until = f"until {shown(token['expires_at'])}"
    told = {
        "good": f"good {until}{', renews itself' if token['renews_itself'] else ''}",
        "renewable": "has ended, and is renewed at the next call",
        "ended": f"has ended ({until}): {how}",
    }[token["state"]]
    return f"{told} ({token['account']}, in {token['kept_in']})"
