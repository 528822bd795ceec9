"""`gotsurge price` against a simulator over real HTTP."""

import json

import pytest

from gotsurge_async.simulator import Simulator
from tests.cli.service.test_tasks import lines
from tests.support.commands import Runner, local

PICKUP = ["--from", "1.2966,103.7764"]


def test_a_price_is_printed(run: Runner, simulator: Simulator) -> None:
    """Money in units of its currency; --json is the API's own object."""
    words = ["price", *PICKUP, "--to", "1.27, 103.86", "--vehicle", "car", *local(simulator)]
    done = run(*words)
    assert (done.exit_code, done.stderr) == (0, "")
    fields = dict(lines(done))
    assert fields["total fee"].startswith("SGD ")
    assert fields["deliveries priced"] == "1"
    found = json.loads(run(*words, "--json").stdout)
    assert found["total_fee"] > 200_000
    assert found["total_fee_currency"] == "SGD"


def test_more_than_ten_deliveries_are_priced_in_part(run: Runner, simulator: Simulator) -> None:
    """A warning on stderr, and the quote says that it is partial."""
    more = [word for n in range(11) for word in ("--to", f"1.2,103.{n + 10}")]
    done = run("price", *PICKUP, *more, "--vehicle", "van_1.7m", *local(simulator))
    assert done.exit_code == 0
    assert done.stderr == "warning: 11 deliveries: the service prices only the 10 farthest\n"
    assert dict(lines(done))["partial"].startswith("yes")


def test_places_south_and_west_are_places(run: Runner, simulator: Simulator) -> None:
    """A minus sign makes no option of a coordinate."""
    done = run("price", "--from", "-6.1,-35.0", "--to", "-6.2,-35.1", "--vehicle", "car", *local(simulator))
    assert done.exit_code == 0


def test_an_address_without_coordinates_is_the_service_s_to_find(run: Runner, simulator: Simulator) -> None:
    """It is sent as an address; the simulator knows no map, and refuses: exit 1."""
    done = run("price", "--from", "1 Pioneer Rd", "--to", "1.27,103.86", "--vehicle", "car", *local(simulator))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "prices.recommend" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--from", "103.7764,1.2966", "--to", "1.27,103.86", "--vehicle", "car"],
        ["--from", " ", "--to", "1.27,103.86", "--vehicle", "car"],
        [*PICKUP, "--vehicle", "car"],
        [*PICKUP, "--to", "1.27,103.86", "--vehicle", "ltl"],
    ],
    ids=["swapped", "blank", "nowhere", "of a task"],
)
def test_a_question_that_cannot_be_is_wrong_usage(run: Runner, simulator: Simulator, words: list[str]) -> None:
    """Exit 2, and nothing is asked."""
    done = run("price", *words, *local(simulator))
    assert (done.exit_code, done.stdout) == (2, "")
    assert simulator.audit()["calls"] == {}


def test_a_price_needs_no_running_simulator(run: Runner) -> None:
    """--simulate starts its own."""
    assert run("price", *PICKUP, "--to", "1.27,103.86", "--vehicle", "car", "--simulate").exit_code == 0


def test_a_price_needs_no_vehicle(run: Runner, simulator: Simulator) -> None:
    """The service prices without one, as its document says."""
    done = run("price", *PICKUP, "--to", "1.27,103.86", *local(simulator), "--json")
    assert (done.exit_code, json.loads(done.stdout)["total_fee"] > 0) == (0, True)
