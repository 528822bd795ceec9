"""A row for each operation: how it is called, what goes out, and what is read of the answer."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from gotsurge_async import Address, GotSurge, Money, PriceVehicle, Secret, Stop, TaskStatus
from tests.support.orders import NOW, WIRE, order
from tests.support.world import World

TASK = "11111111-2222-4333-8444-555555555555"


ORG = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"


ROLE = "99999999-8888-4777-8666-555555555555"


READ = {
    **WIRE,
    "server_time": "2026-01-01T00:00:00Z",
    "id": "{task}",
    "distance_in_meters": 7357,
    "is_urgent": False,
    "task_creation_group": TASK,
    "attachments": [],
    "org_transporter": {},
    "driver": None,
    "current_status": "broadcasting",
    "statuses": [{"status": "broadcasting", "updated_at": "2026-01-01T00:00:00Z"}],
    "vehicle_emissions_type": "ev",
    "vehicle_emissions": {},
    "client": {},
    "updated_at": "2026-01-01T00:00:00Z",
    "version_rev": "{rev}",
}
"""A task as an answer shows it."""


TASK_READ = {
    "id": "{task}",
    "tracking_id": "T-1",
    "price": Money.of("5.00", "SGD"),
    "server_time": NOW,
    "to_contact.vessel_imo": 9074729,
    "items.0.name": "Rope",
    "current_status": TaskStatus.BROADCASTING,
    "statuses.0.updated_at": NOW,
    "driver": None,
    "version_rev": "{rev}",
}
"""Where each value of it is found."""


ORGANIZATION = {
    "id": "{org}",
    "business_name": "ABC Merchant",
    "min_price": 200000,
    "price_table": [{"code": "standard", "time_delta": 0, "price": 500000}],
    "created_at": "2026-01-01T00:00:00Z",
    "version_seq": 1,
}


ORGANIZATION_READ = {
    "business_name": "ABC Merchant",
    "min_price": Money(millicents=200_000, currency=""),
    "price_table.0.price": Money(millicents=500_000, currency=""),
    "created_at": NOW,
    "version_seq": 1,
}


@attrs.frozen(kw_only=True)
class Row:
    """One operation: how it is called, what must go out, what comes back, and what is read of it.

    Text such as ``{task}`` stands for a name that is known when the row runs. ``reads`` has dotted paths into the
    result.
    """

    operation: str
    call: Callable[[GotSurge, Mapping[str, str]], Awaitable[Any]]
    request: str
    body: Any = None
    answer: Any
    reads: Mapping[str, Any]
    prepare: Callable[[World], Awaitable[Mapping[str, str]]] | None = None


async def a_task(world: World) -> Mapping[str, str]:
    """A task that is broadcast."""
    created = (await world.gs.platform.tasks.create([order()])).tasks[0]
    return {"task": created.id, "rev": created.version_rev or ""}


async def a_draft(world: World) -> Mapping[str, str]:
    """A task that is not."""
    created = (await world.gs.platform.drafts.create([order()])).tasks[0]
    return {"task": created.id, "rev": created.version_rev or ""}


async def an_organization(world: World) -> Mapping[str, str]:
    """An organization with its first role."""
    created = await world.gs.platform.organizations.create("ABC Merchant")
    roles = await world.gs.platform.organizations.roles(created.id)
    return {"org": created.id, "role": roles[0].id}


async def a_code(world: World) -> Mapping[str, str]:
    """What a user's consent gives."""
    return {"code": world.simulator.new_code("platform")}


async def a_session(world: World) -> Mapping[str, str]:
    """What a user's single sign-on gives."""
    return {"session": world.simulator.new_session("platform")}


async def a_refresh_token(world: World) -> Mapping[str, str]:
    """The client's own."""
    tokens = await world.gs.oauth.exchange(world.simulator.new_code("platform"))
    assert tokens.refresh is not None
    return {"refresh": tokens.refresh.reveal()}


ROWS = [
    Row(
        operation="partner.detail",
        call=lambda gs, _: gs.partner.detail(),
        request="GET /partners/cGxhdGZvcm0tY2xpZW50LWtleTpwbGF0Zm9ybS1zZWNyZXQta2V5",
        answer={
            "id": ORG,
            "client_key": "platform-client-key",
            "secret_key": "platform-secret-key",
            "webhook_url": "",
            "name": "Platform Partner",
            "created_at": "1970-01-01T00:00:00Z",
            "updated_by": "",
            "updated_at": "1970-01-01T00:00:00Z",
        },
        reads={
            "client_key": "platform-client-key",
            "secret_key": "platform-secret-key",
            "name": "Platform Partner",
            "created_at": datetime(1970, 1, 1, tzinfo=UTC),
        },
    ),
    Row(
        operation="auth.exchange",
        prepare=a_code,
        call=lambda gs, names: gs.oauth.exchange(names["code"]),
        request="POST /oauth2/token",
        body={"client_key": "platform-client-key", "secret_key": "platform-secret-key", "code": "{code}"},
        answer={"bearer_token": "b", "refresh_token": "r", "server_time": "2026-01-01T00:00:00Z"},
        reads={"issued_at": NOW, "expires_at": datetime(2026, 1, 31, tzinfo=UTC)},
    ),
    Row(
        operation="auth.refresh",
        prepare=a_refresh_token,
        call=lambda gs, names: gs.oauth.refresh(Secret(names["refresh"])),
        request="POST /oauth2/refresh",
        body={"client_key": "platform-client-key", "refresh_token": "{refresh}"},
        answer={"bearer_token": "b"},
        reads={"refresh": Secret("{refresh}"), "expires_at": datetime(2026, 1, 31, tzinfo=UTC)},
    ),
    Row(
        operation="tasks.create",
        call=lambda gs, _: gs.tasks.create([order()]),
        request="POST /tasks",
        body={"tasks": [WIRE]},
        answer={"tasks": [READ], "server_time": "2026-01-01T00:00:00Z"},
        reads={"tasks.0.tracking_id": "T-1", "tasks.0.current_status": "broadcasting", "server_time": NOW},
    ),
    Row(
        operation="tasks.get",
        prepare=a_task,
        call=lambda gs, names: gs.tasks.get(names["task"]),
        request="GET /tasks/{task}",
        answer=READ,
        reads=TASK_READ,
    ),
    Row(
        operation="tasks.cancel",
        prepare=a_task,
        call=lambda gs, names: gs.tasks.cancel(names["task"], reason="Wrong information"),
        request="POST /tasks/{task}/cancel",
        body={"reason": "Wrong information"},
        answer={"message": "Successfully cancel the task"},
        reads={"message": "Successfully cancel the task"},
    ),
    Row(
        operation="prices.recommend",
        call=lambda gs, _: gs.prices.recommend(
            service_type=PriceVehicle.CAR,
            stops=[Stop(latitude=1.3, longitude=103.7), Address(latitude=1.31, longitude=103.75, country="SG")],
        ),
        request="POST /prices/recommendation",
        body={
            "service_type": "car",
            "stops": [
                {"latitude": 1.3, "longitude": 103.7},
                {"address": {"latitude": 1.31, "longitude": 103.75, "country": "SG"}},
            ],
        },
        answer={
            "average_fee": 673712,
            "code": "success",
            "distance": {"value": 7369, "unit": "m"},
            "total_fee": 673712,
            "total_fee_currency": "SGD",
            "total_waypoint": 1,
        },
        reads={
            "code": "success",
            "total_fee": Money(millicents=673_712, currency="SGD"),
            "average_fee": Money(millicents=673_712, currency="SGD"),
            "distance.unit": "m",
            "total_waypoint": 1,
            "partial": False,
        },
    ),
    Row(
        operation="platform.sso.exchange",
        prepare=a_session,
        call=lambda gs, names: gs.sso.exchange(names["session"]),
        request="POST /platform/sso/token",
        body={"session_id": "{session}"},
        answer={
            "bearer_token": "b",
            "refresh_token": "r",
            "user": {"email": "platform@example.com", "roles": ["OrgAdmin"]},
        },
        reads={"user.email": "platform@example.com", "user.roles.0": "OrgAdmin", "tokens.issued_at": NOW},
    ),
    Row(
        operation="platform.organizations.create",
        call=lambda gs, _: gs.platform.organizations.create("ABC Merchant"),
        request="POST /platform/organizations",
        body={"business_name": "ABC Merchant"},
        answer={"organization": ORGANIZATION},
        reads=ORGANIZATION_READ,
    ),
    Row(
        operation="platform.organizations.list",
        prepare=an_organization,
        call=lambda gs, _: gs.platform.organizations.list(per_page=50).page(1),
        request="GET /platform/organizations?page=1&per_page=50",
        answer={"meta": {"page": 1, "per_page": 50, "total": 1}, "organizations": [ORGANIZATION]},
        reads={f"organizations.0.{path}": value for path, value in {**ORGANIZATION_READ, "id": "{org}"}.items()},
    ),
    Row(
        operation="platform.organizations.get",
        prepare=an_organization,
        call=lambda gs, names: gs.platform.organizations.get(names["org"]),
        request="GET /platform/organizations/{org}",
        answer={"organization": ORGANIZATION},
        reads={**ORGANIZATION_READ, "id": "{org}"},
    ),
    Row(
        operation="platform.organizations.roles",
        prepare=an_organization,
        call=lambda gs, names: gs.platform.organizations.roles(names["org"]),
        request="GET /platform/organizations/{org}/roles",
        answer={"roles": [{"id": "{role}", "name": "OrgAdmin"}]},
        reads={"0.id": "{role}", "0.name": "OrgAdmin"},
    ),
    Row(
        operation="platform.users.invite",
        prepare=an_organization,
        call=lambda gs, names: gs.platform.users.invite(
            ["a@example.com", "b@example.com"], org_id=names["org"], role_id=names["role"]
        ),
        request="POST /platform/users/invite",
        body={"user": {"emails": ["a@example.com", "b@example.com"], "org_id": "{org}", "role_id": "{role}"}},
        answer={"message": "Successfully invited 2 user(s)"},
        reads={"message": "Successfully invited 2 user(s)"},
    ),
    Row(
        operation="platform.tasks.create",
        call=lambda gs, _: gs.platform.tasks.create([order()]),
        request="POST /platform/tasks",
        body={"tasks": [WIRE]},
        answer={"total_tasks": 1, "tasks": [READ], "server_time": "2026-01-01T00:00:00Z"},
        reads={"total_tasks": 1, "tasks.0.tracking_id": "T-1", "server_time": NOW},
    ),
    Row(
        operation="platform.tasks.list",
        prepare=a_task,
        call=lambda gs, _: gs.platform.tasks.list(order="desc").page(1),
        request="GET /platform/tasks?page=1&per_page=200&order=desc",
        answer={"meta": {"page": 1, "per_page": 200, "total": 1}, "tasks": [READ]},
        reads={f"tasks.0.{path}": value for path, value in TASK_READ.items()},
    ),
    Row(
        operation="platform.tasks.get",
        prepare=a_task,
        call=lambda gs, names: gs.platform.tasks.get(names["task"]),
        request="GET /platform/tasks/{task}",
        answer=READ,
        reads=TASK_READ,
    ),
    Row(
        operation="platform.tasks.update",
        prepare=a_task,
        call=lambda gs, names: gs.platform.tasks.update(
            names["task"],
            version_rev=names["rev"],
            group_tag="MV Example",
            to_contact=None,
            price=Money.of("6.50", "SGD"),
        ),
        request="PATCH /platform/tasks/{task}",
        body={
            "group_tag": "MV Example",
            "to_contact": None,
            "price": 650000,
            "currency": "SGD",
            "version_rev": "{rev}",
        },
        answer={**READ, "group_tag": "MV Example", "price": 650000, "to_contact": None},
        reads={"id": "{task}", "group_tag": "MV Example", "to_contact": None, "price": Money.of("6.50", "SGD")},
    ),
    Row(
        operation="platform.drafts.create",
        call=lambda gs, _: gs.platform.drafts.create([order()]),
        request="POST /platform/tasks/drafts",
        body={"tasks": [WIRE]},
        answer={
            "total_tasks": 1,
            "tasks": {**READ, "current_status": "pending_broadcast"},
            "server_time": "2026-01-01T00:00:00Z",
        },
        reads={"total_tasks": 1, "tasks.0.tracking_id": "T-1", "tasks.0.current_status": "pending_broadcast"},
    ),
    Row(
        operation="platform.drafts.broadcast",
        prepare=a_draft,
        call=lambda gs, names: gs.platform.drafts.broadcast([names["task"]]),
        request="POST /platform/tasks/drafts/broadcast",
        body={"task_ids": ["{task}"]},
        answer={"updated_tasks": [READ], "server_time": "2026-01-01T00:00:00Z"},
        reads={"updated_tasks.0.id": "{task}", "updated_tasks.0.current_status": "broadcasting", "server_time": NOW},
    ),
    Row(
        operation="platform.drafts.broadcast_with_tracking",
        prepare=a_draft,
        call=lambda gs, names: gs.platform.drafts.broadcast_with_tracking({names["task"]: "TRACK-9"}),
        request="POST /platform/tasks/drafts/broadcast-with-tracking",
        body={"tasks": [{"id": "{task}", "tracking_id": "TRACK-9"}]},
        answer={"updated_tasks": [{**READ, "tracking_id": "TRACK-9"}], "server_time": "2026-01-01T00:00:00Z"},
        reads={"updated_tasks.0.tracking_id": "TRACK-9", "updated_tasks.0.current_status": "broadcasting"},
    ),
    Row(
        operation="platform.tasks.patch_tracking_ids",
        prepare=a_task,
        call=lambda gs, names: gs.platform.tasks.patch_tracking_ids({names["task"]: "TRACK-9"}),
        request="PATCH /platform/tasks/tracking-ids",
        body={"tasks": [{"id": "{task}", "tracking_id": "TRACK-9"}]},
        answer={"updated_tasks": [{**READ, "tracking_id": "TRACK-9"}], "server_time": "2026-01-01T00:00:00Z"},
        reads={"updated_tasks.0.id": "{task}", "updated_tasks.0.tracking_id": "TRACK-9", "server_time": NOW},
    ),
]
