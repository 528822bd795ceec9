"""`gotsurge doctor`: what it shows, what it never shows, and what it makes of answers."""

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import Result

from gotsurge_async.api.assumptions import ASSUMPTIONS
from gotsurge_async.simulator import Fault, Simulator, SimulatorOptions
from tests.support.commands import Runner, local
from tests.support.running import running_simulator


@attrs.frozen
class Doctor:
    """Runs ``gotsurge doctor WORDS``."""

    run: Runner

    def __call__(self, *words: str, **variables: str) -> Result:
        return self.run("doctor", *words, **variables)


@pytest.fixture
def doctor(run: Runner) -> Doctor:
    return Doctor(run)


def probe(done: Result, operation: str) -> Any:
    """What was said of an operation."""
    (found,) = [each for each in json.loads(done.stdout)["probes"] if each["operation"] == operation]
    return found


def test_a_healthy_simulator_is_reported_as_such(doctor: Doctor, simulator: Simulator) -> None:
    """Exit 0: environment, token, probes and all assumptions, a line each, and nothing on stderr."""
    done = doctor(*local(simulator))
    assert (done.exit_code, done.stderr) == (0, "")
    lines = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
    assert lines["environment"] == "local"
    assert lines["API base"] == f"{simulator.api_base} (the simulator's)"
    assert lines["endpoints"].startswith("21 of 21 operations are assumed")
    assert lines["token"].startswith("good until ")
    assert lines["probe partner.detail"].endswith("the path answers, and the credentials are known")
    assert lines["probe tasks.get"].endswith("the path answers, and the token is taken")
    assert all(lines[topic] == choice for topic, choice in ASSUMPTIONS.items())


def test_it_sends_gets_only(doctor: Doctor, simulator: Simulator) -> None:
    """Beside the sign-in to the simulator nothing but the two reads has come in."""
    doctor(*local(simulator))
    assert simulator.audit()["calls"] == {"auth.exchange": 1, "partner.detail": 1, "tasks.get": 1}


def test_offline_nothing_is_sent(doctor: Doctor, simulator: Simulator) -> None:
    """No call, and exit 4 because there is no token."""
    done = doctor(*local(simulator), "--offline", "--json")
    assert done.exit_code == 4
    assert json.loads(done.stdout)["probes"] == []
    assert simulator.audit()["calls"] == {}


def test_the_document_has_every_part(doctor: Doctor, simulator: Simulator) -> None:
    """The same as is printed for people, for programs."""
    done = doctor(*local(simulator), "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["ok"] is True
    assert set(found) == {
        "ok",
        "environment",
        "credentials",
        "token",
        "endpoints",
        "probes",
        "assumptions",
    }
    assert found["credentials"] == {"client_key": True, "secret_key": True}
    assert len(found["endpoints"]["assumed"]) == 21
    assert len(found["assumptions"]) == len(ASSUMPTIONS)


def test_secrets_are_not_shown(doctor: Doctor, simulator: Simulator) -> None:
    """Neither token nor key nor the signature made of them stands in the output, in text or JSON."""
    keys = simulator.accounts["plain"]
    variables = {
        "GOTSURGE_BEARER_TOKEN": "bearer-of-secrets",
        "GOTSURGE_REFRESH_TOKEN": "refresh-of-secrets",
        "GOTSURGE_CLIENT_KEY": keys.client_key,
        "GOTSURGE_SECRET_KEY": keys.secret_key,
    }
    for more in ([], ["--json"]):
        shown = doctor(*local(simulator), *more, **variables).output
        for secret in ("bearer-of-secrets", "refresh-of-secrets", keys.secret_key, "cGxhaW4tY2xpZW50LWtleTpwbGFpb"):
            assert secret not in shown


def test_a_refused_token_is_a_matter_of_signing_in(doctor: Doctor, simulator: Simulator) -> None:
    """Exit 4, with what the answer means; the credentials are all right all the same."""
    done = doctor(*local(simulator), "--json", GOTSURGE_BEARER_TOKEN="wrong")
    assert done.exit_code == 4
    assert probe(done, "tasks.get") == {
        "operation": "tasks.get",
        "request": "GET /tasks/{task_id}",
        "status": 401,
        "verdict": "the token is refused",
        "ok": False,
    }
    assert json.loads(done.stdout)["token"]["kept_in"] == "the environment variables"


def test_without_a_token_the_path_can_still_be_seen_to_answer(doctor: Doctor, simulator: Simulator) -> None:
    """A refresh token alone signs no call: 401 where an unknown path gives 404 proves the path."""
    variables = {"GOTSURGE_REFRESH_TOKEN": "refresh", "GOTSURGE_CLIENT_KEY": "k"}
    done = doctor(*local(simulator), "--json", **variables)
    assert probe(done, "tasks.get")["verdict"] == "the path answers, and wants a token"
    assert json.loads(done.stdout)["token"]["state"] == "renewable"


def test_a_wrong_base_is_found_out(doctor: Doctor, simulator: Simulator) -> None:
    """Where every path gives the same 404, the path is not taken for right: exit 1."""
    done = doctor(*local(simulator, "/elsewhere"), "--json", GOTSURGE_BEARER_TOKEN="any")
    assert done.exit_code == 1
    assert "every path gets this answer" in probe(done, "tasks.get")["verdict"]


def test_nobody_there(doctor: Doctor) -> None:
    """No connection is exit 1, and says what to start."""
    done = doctor("--env", "local", "--api-base", "http://127.0.0.1:9/api", "--json")
    assert done.exit_code == 1
    assert "no answer" in probe(done, "tasks.get")["verdict"]
    assert "gotsurge simulator" in json.loads(done.stdout)["token"]["trouble"]


def test_a_failing_service_is_no_proof(doctor: Doctor) -> None:
    """A 500 for a task that cannot be is reported as unexpected, exit 1; wrong credentials as well."""
    with running_simulator() as simulator:
        simulator.order_fault(Fault(operation="tasks.get", when="before", kind="status", status=500))
        simulator.order_fault(Fault(operation="partner.detail", when="before", kind="status", status=403))
        done = doctor(*local(simulator), "--json")
    assert done.exit_code == 1
    assert probe(done, "tasks.get")["verdict"] == "HTTP 500: not what a task that is not there should give"
    assert probe(done, "partner.detail")["verdict"] == "HTTP 403: the path, or the credentials, are not known"


def test_errors_of_another_shape_change_nothing(doctor: Doctor) -> None:
    """A service that refuses with empty bodies still proves its path by the difference of the statuses' bodies."""
    with running_simulator(SimulatorOptions(error_shape="html")) as simulator:
        assert doctor(*local(simulator)).exit_code == 0


def test_the_secret_key_goes_nowhere_unasked(doctor: Doctor, simulator: Simulator) -> None:
    """Partner Detail, in whose path it stands, is called on a confirmed path, or with --partner, and never else."""
    keys = {"GOTSURGE_CLIENT_KEY": "plain-client-key", "GOTSURGE_SECRET_KEY": "plain-secret-key"}
    words = ("--env", "sandbox", "--api-base", simulator.api_base, "--json")
    done = doctor(*words, **keys)
    assert "see --partner" in probe(done, "partner.detail")["verdict"]
    assert "partner.detail" not in simulator.audit()["calls"]
    assert probe(doctor(*words, "--partner", **keys), "partner.detail")["status"] == 200
    assert simulator.audit()["calls"]["partner.detail"] == 1


def test_the_profile_is_shown_and_used(doctor: Doctor, simulator: Simulator, tmp_path: Path) -> None:
    """A confirmed operation is reported as confirmed, a read that is no GET there is not probed."""
    profile = tmp_path / "p.toml"
    profile.write_text('[endpoints."tasks.get"]\nverb = "POST"\n[endpoints."partner.detail"]\nverb = "POST"\n')
    done = doctor(*local(simulator), "--json", GOTSURGE_PROFILE=str(profile))
    found = json.loads(done.stdout)
    assert found["environment"]["profile"] == str(profile)
    assert found["endpoints"]["confirmed"] == ["partner.detail", "tasks.get"]
    assert {each["verdict"] for each in found["probes"]} == {"not probed: it is no GET"}


@pytest.mark.parametrize(
    ("words", "variables", "base", "source"),
    [
        (["--env", "sandbox"], {}, "https://staging.gotsurge.co/api/partnership/v1", "assumed"),
        ([], {}, "https://staging.gotsurge.co/api/partnership/v1", "assumed"),
        (["--env", "production"], {"GOTSURGE_API_BASE": "https://x.co/v1"}, "https://x.co/v1", "given"),
    ],
)
def test_the_environment_is_reported_with_where_it_comes_from(
    doctor: Doctor, words: list[str], variables: dict[str, str], base: str, source: str
) -> None:
    """Options before variables before what is assumed."""
    found = json.loads(doctor(*words, "--offline", "--json", **variables).stdout)
    assert (found["environment"]["api_base"], found["environment"]["api_base_is"]) == (base, source)
    assert found["token"] == {
        "account": found["environment"]["name"],
        "state": "none",
        "kept_in": "the token store",
        "trouble": "",
    }


def test_settings_that_cannot_be_right_are_reported(doctor: Doctor) -> None:
    """Exit 2, nothing on stdout."""
    done = doctor("--env", "local")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "needs the API base" in done.stderr
