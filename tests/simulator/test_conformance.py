"""The simulator against its own OpenAPI document: whatever is sent, it answers as the document says."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gotsurge_async.api.endpoints import ENDPOINTS, Endpoint
from gotsurge_async.simulator import Simulator
from tests.support.running import running_simulator

from .kit import order

pytestmark = pytest.mark.slow

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 40


class Partner:
    """A platform partner that is signed in to a simulator, with tasks and drafts of its own."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.keys = simulator.accounts["platform"]
        self.token = ""
        tokens = self.post("/oauth2/token", **self.exchange())
        self.token, self.refresh_token = tokens["bearer_token"], tokens["refresh_token"]
        self.schema = schemathesis.openapi.from_dict(self.get("/openapi.json", base=f"{simulator.origin}/_simulator"))

    @property
    def headers(self) -> dict[str, str]:
        """What signs a call."""
        return {"Authorization": f"Bearer {self.token}"}

    def get(self, path: str, *, base: str = "") -> Any:
        """Read something that is there."""
        answer = requests.get((base or self.simulator.api_base) + path, headers=self.headers, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, *, base: str = "", **content: Any) -> Any:
        """Make a call that has to succeed."""
        url = (base or self.simulator.api_base) + path
        answer = requests.post(url, json=content, headers=self.headers, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def check(self, case: Case[Any]) -> int:
        """Send a case, hold its answer to the document, and tell its status."""
        answer = case.call_and_validate(base_url=self.simulator.api_base, headers=self.headers, checks=CHECKS)
        return answer.status_code

    def operation(self, endpoint: Endpoint[Any]) -> APIOperation[Any, Any, Any, Any]:
        """An operation in the simulator's own document."""
        return self.schema[endpoint.path][endpoint.verb]

    def exchange(self) -> dict[str, str]:
        """The body of an exchange that is due."""
        keys = self.keys
        code = self.simulator.new_code("platform")
        return {"client_key": keys.client_key, "secret_key": keys.secret_key, "code": code}

    def task(self) -> Any:
        """A new task that is broadcast."""
        return self.post("/platform/tasks", tasks=[order()])["tasks"][0]

    def draft(self) -> Any:
        """A new draft."""
        return self.post("/platform/tasks/drafts", tasks=[order()])["tasks"][0]

    def update(self) -> dict[str, Any]:
        """A new task's path, and an update of it."""
        task = self.task()
        changes = {"version_rev": task["version_rev"], "group_tag": None, "price": 700_000, "currency": "SGD"}
        return {"path_parameters": {"task_id": task["id"]}, "body": changes}

    def invitation(self) -> dict[str, Any]:
        """A user for the partner's own organization."""
        org_id = self.keys.org_id
        role = self.get(f"/platform/organizations/{org_id}/roles")["roles"][0]
        return {"user": {"emails": ["new@example.com"], "org_id": org_id, "role_id": role["id"]}}

    def tracked(self, task: Any) -> dict[str, Any]:
        """A tracking id for a task."""
        return {"tasks": [{"id": task["id"], "tracking_id": "NEW-1"}]}

    def session(self) -> dict[str, str]:
        """A session of a person who has signed in."""
        answer: dict[str, str] = self.post("/session", base=f"{self.simulator.origin}/_simulator", account="platform")
        return answer


@pytest.fixture(scope="module")
def partner() -> Iterator[Partner]:
    with running_simulator() as simulator:
        yield Partner(simulator)


def _stop(longitude: float) -> dict[str, float]:
    return {"latitude": 1.3, "longitude": longitude}


GOOD: dict[str, Callable[[Partner], dict[str, Any]]] = {
    "partner.detail": lambda it: {
        "path_parameters": {
            "signature": base64.b64encode(f"{it.keys.client_key}:{it.keys.secret_key}".encode()).decode()
        }
    },
    "auth.exchange": lambda it: {"body": it.exchange()},
    "auth.refresh": lambda it: {"body": {"client_key": it.keys.client_key, "refresh_token": it.refresh_token}},
    "tasks.create": lambda _: {"body": {"tasks": [order("A"), order("B")]}},
    "tasks.get": lambda it: {"path_parameters": {"task_id": it.task()["id"]}},
    "tasks.cancel": lambda it: {"path_parameters": {"task_id": it.task()["id"]}, "body": {"reason": "wrong"}},
    "prices.recommend": lambda _: {"body": {"service_type": "car", "stops": [_stop(103.7), _stop(103.8)]}},
    "platform.sso.exchange": lambda it: {"body": it.session()},
    "platform.organizations.create": lambda _: {"body": {"business_name": "ABC Merchant"}},
    "platform.organizations.list": lambda _: {"query": {"page": 1, "per_page": 2}},
    "platform.organizations.get": lambda it: {"path_parameters": {"org_id": it.keys.org_id}},
    "platform.organizations.roles": lambda it: {"path_parameters": {"org_id": it.keys.org_id}},
    "platform.users.invite": lambda it: {"body": it.invitation()},
    "platform.tasks.create": lambda _: {"body": {"tasks": [order("A"), order("B")]}},
    "platform.tasks.list": lambda _: {"query": {"page": 1, "per_page": 2, "order": "desc"}},
    "platform.tasks.get": lambda it: {"path_parameters": {"task_id": it.draft()["id"]}},
    "platform.tasks.update": lambda it: it.update(),
    "platform.drafts.create": lambda _: {"body": {"tasks": [order("A"), order("B")]}},
    "platform.drafts.broadcast": lambda it: {"body": {"task_ids": [it.draft()["id"]]}},
    "platform.drafts.broadcast_with_tracking": lambda it: {"body": it.tracked(it.draft())},
    "platform.tasks.patch_tracking_ids": lambda it: {"body": it.tracked(it.task())},
}
"""A call of each operation that succeeds."""


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_a_success_matches_the_document(partner: Partner, endpoint: Endpoint[Any]) -> None:
    """The answer of every operation, when it does what it is for, has the status, type and shape that is said."""
    parts = GOOD[endpoint.name](partner)
    if "body" in parts:
        parts["media_type"] = "application/json"
    assert partner.check(partner.operation(endpoint).Case(**parts)) == 200


def _made_up() -> Iterator[Any]:
    for endpoint in ENDPOINTS.values():
        yield pytest.param(endpoint, GenerationMode.POSITIVE, id=f"{endpoint.name}-valid")
        # Any text is a valid part of a path: only bodies, queries and bearer tokens can be broken.
        if endpoint.request is not None or endpoint.bearer:
            yield pytest.param(endpoint, GenerationMode.NEGATIVE, id=f"{endpoint.name}-broken")


@pytest.mark.parametrize(("endpoint", "mode"), list(_made_up()))
def test_made_up_calls_are_answered_as_the_document_says(
    partner: Partner, endpoint: Endpoint[Any], mode: GenerationMode
) -> None:
    """Whatever a valid or a broken call holds, the service does not fail, and its answer has a shape that is said."""
    strategy = partner.operation(endpoint).as_strategy(generation_mode=mode)
    there = {"task_id": partner.task()["id"], "org_id": partner.keys.org_id}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, real=st.booleans())
    def holds(case: Case[Any], real: bool) -> None:
        if real:
            known = {name: there[name] for name in case.path_parameters or {} if name in there}
            case.path_parameters = {**(case.path_parameters or {}), **known}
        partner.check(case)

    holds()
