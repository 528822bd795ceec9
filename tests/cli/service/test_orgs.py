"""`gotsurge orgs` and `gotsurge users` against a simulator over real HTTP."""

import json

import pytest

from gotsurge_async.simulator import Fault, Simulator
from tests.cli.service.test_tasks import lines
from tests.support.commands import Runner, local


def organization(run: Runner, simulator: Simulator, name: str = "ABC Merchant") -> str:
    """The id of a new organization."""
    done = run("orgs", "create", name, *local(simulator), "--json")
    assert done.exit_code == 0, done.output
    found: str = json.loads(done.stdout)["id"]
    return found


def test_an_organization_is_created_and_shown(run: Runner, simulator: Simulator) -> None:
    """A line a field; --json is the API's own object."""
    done = run("orgs", "create", "ABC Merchant", *local(simulator))
    assert (done.exit_code, done.stderr) == (0, "")
    fields = dict(lines(done))
    assert fields["business_name"] == "ABC Merchant"
    shown = run("orgs", "get", fields["id"], *local(simulator))
    assert dict(lines(shown)) == fields
    found = json.loads(run("orgs", "get", fields["id"], *local(simulator), "--json").stdout)
    assert (found["id"], found["business_name"]) == (fields["id"], "ABC Merchant")


def test_organizations_are_listed(run: Runner, simulator: Simulator) -> None:
    """A row each, the heading first."""
    ids = [organization(run, simulator, name) for name in ("One", "Two")]
    done = run("orgs", "list", *local(simulator))
    assert lines(done)[0] == ["id", "business_name", "created"]
    assert [row[:2] for row in lines(done)[1:]] == [[ids[0], "One"], [ids[1], "Two"]]
    found = json.loads(run("orgs", "list", *local(simulator), "--json").stdout)
    assert [each["id"] for each in found] == ids


@pytest.mark.parametrize(("name", "code"), [("gotsurge 2", 2), ("a/b", 2), ("ABC Merchant", 1)])
def test_a_name_that_cannot_be_is_refused(run: Runner, simulator: Simulator, name: str, code: int) -> None:
    """By its form before anything is sent (2), by the service when it is taken (1)."""
    organization(run, simulator)
    done = run("orgs", "create", name, *local(simulator))
    assert (done.exit_code, done.stdout) == (code, "")
    assert simulator.audit()["calls"]["platform.organizations.create"] == (1 if code == 2 else 2)


def test_a_lost_answer_is_in_doubt_unless_the_list_shows_it(run: Runner, simulator: Simulator) -> None:
    """Found by its name it counts as created (0); not found nobody can say (3)."""
    simulator.order_fault(Fault(operation="platform.organizations.create", when="after", kind="reset", times=1))
    assert run("orgs", "create", "Lost", *local(simulator)).exit_code == 0
    simulator.order_fault(Fault(operation="platform.organizations.create", when="before", kind="reset", times=1))
    done = run("orgs", "create", "Lost 2", *local(simulator))
    assert (done.exit_code, done.stdout) == (3, "")
    assert "check before you try again" in done.stderr


def test_roles_are_listed_and_people_invited(run: Runner, simulator: Simulator) -> None:
    """A role is named by its name or its id."""
    org_id = organization(run, simulator)
    roles = lines(run("orgs", "roles", org_id, *local(simulator)))
    assert roles[0] == ["id", "name"]
    role_id, name = roles[1]
    assert json.loads(run("orgs", "roles", org_id, *local(simulator), "--json").stdout)[0] == {
        "id": role_id,
        "name": name,
    }
    first = run(
        "users", "invite", "a@example.com", "b@example.com", "--org", org_id, "--role", name.upper(), *local(simulator)
    )
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout.strip()
    second = run("users", "invite", "c@example.com", "--org", org_id, "--role", role_id, *local(simulator), "--json")
    assert "message" in json.loads(second.stdout)
    assert simulator.audit()["calls"]["platform.users.invite"] == 2


@pytest.mark.parametrize(("email", "role"), [("a@example.com", "Emperor"), ("nobody", "OrgAdmin")])
def test_who_cannot_be_invited_is_not(run: Runner, simulator: Simulator, email: str, role: str) -> None:
    """A role that is not there, or what is no address: exit 2, nobody is invited."""
    org_id = organization(run, simulator)
    done = run("users", "invite", email, "--org", org_id, "--role", role, *local(simulator))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "platform.users.invite" not in simulator.audit()["calls"]


def test_an_organization_of_somebody_else_is_a_refusal(run: Runner, simulator: Simulator) -> None:
    """Exit 1."""
    for words in (["orgs", "get", "none"], ["orgs", "roles", "none"]):
        assert run(*words, *local(simulator)).exit_code == 1
