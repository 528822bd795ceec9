import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.simulator import SWITCHES, SimulatorOptions
from gotsurge_async.simulator.operations import OPERATIONS, perform
from gotsurge_async.simulator.replies import Call, Reply
from gotsurge_async.simulator.state.accounts import ACCOUNTS
from gotsurge_async.simulator.state.service import Service

from ..kit import START, FakeTime, order

NOW = START + 28 * 3600
"""When the pickup of `order()` ends: no reading of the document refuses it then."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
odd_orders = st.builds(
    lambda fields, values: order(**dict(zip(fields, values, strict=False))),
    st.lists(st.sampled_from([*order(), "driver", "tomorrow"]), max_size=4),
    st.lists(json_values, min_size=4, max_size=4),
)
bodies = (
    st.binary(max_size=20)
    | json_values.map(json.dumps).map(str.encode)
    | st.lists(odd_orders, max_size=3).map(lambda orders: json.dumps({"tasks": orders}).encode())
    | odd_orders.map(lambda fields: json.dumps({"version_rev": "0", **fields}).encode())
)
options = st.fixed_dictionaries({name: st.sampled_from(switch.values) for name, switch in SWITCHES.items()})


class Partner:
    """A platform partner who calls the service without HTTP."""

    def __init__(self, switches: dict[str, Any]) -> None:
        self.service = Service(SimulatorOptions.from_mapping(switches), FakeTime())
        code = self.service.sign_in.new_code(self.service.caller("platform"), NOW)
        self.token = self.service.sign_in.exchange_code("platform-client-key", code, NOW)["bearer_token"]
        self.path = {"task_id": "none", "org_id": ACCOUNTS["platform"].org_id, "signature": "x"}

    def call(self, operation: str, body: bytes) -> Reply:
        authorization = f"Bearer {self.token}"
        call = Call(body=body, path=self.path, query={}, authorization=authorization, now=NOW)
        return perform(self.service, operation, call)


def test_every_operation_of_the_table_is_done_once() -> None:
    """Each operation of the endpoint table is in the simulator's, and anyone may call those without a bearer token."""
    assert sorted(OPERATIONS) == sorted(ENDPOINTS)
    public = {name for name, (who, _) in OPERATIONS.items() if who == "anyone"}
    assert public == {name for name, endpoint in ENDPOINTS.items() if not endpoint.bearer}


@given(options, st.sampled_from(sorted(ENDPOINTS)), bodies)
def test_any_body_gets_an_answer(switches: dict[str, Any], operation: str, body: bytes) -> None:
    """Whatever is sent to whatever operation is answered or refused, and never breaks the service."""
    partner = Partner(switches)
    created = partner.service.tasks.new_id()
    partner.call("platform.drafts.create", json.dumps({"tasks": [order()]}).encode())
    partner.path["task_id"] = created
    record = partner.service.tasks.find(created)
    body = body.replace(b'"version_rev": "0"', f'"version_rev": "{record.version_rev}"'.encode())
    assert partner.call(operation, body).status in {200, 201, 204, 400, 401, 404, 409, 422}
    assert partner.call("tasks.get", b"").status == 200
    assert partner.call("platform.tasks.list", b"").status == 200
