"""`gotsurge_async.api.endpoints`: the whole table."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.api.endpoints import ENDPOINTS, TASKS_CREATE, TASKS_GET, Endpoint, Replay
from gotsurge_async.errors import UsageError
from gotsurge_async.models.base import Model
from gotsurge_async.models.tasks import TaskChanges

TABLE = """
    partner.detail                          GET    /partners/{signature}                           -      safe
    auth.exchange                           POST   /oauth2/token                                   -      never
    auth.refresh                            POST   /oauth2/refresh                                 -      safe
    tasks.create                            POST   /tasks                                          bearer never
    tasks.get                               GET    /tasks/{task_id}                                bearer safe
    tasks.cancel                            POST   /tasks/{task_id}/cancel                         bearer converge
    prices.recommend                        POST   /prices/recommendation                          bearer safe
    platform.sso.exchange                   POST   /platform/sso/token                             -      never
    platform.organizations.create           POST   /platform/organizations                         bearer never
    platform.organizations.list             GET    /platform/organizations                         bearer safe
    platform.organizations.get              GET    /platform/organizations/{org_id}                bearer safe
    platform.organizations.roles            GET    /platform/organizations/{org_id}/roles          bearer safe
    platform.users.invite                   POST   /platform/users/invite                          bearer never
    platform.tasks.create                   POST   /platform/tasks                                 bearer never
    platform.tasks.list                     GET    /platform/tasks                                 bearer safe
    platform.tasks.get                      GET    /platform/tasks/{task_id}                       bearer safe
    platform.tasks.update                   PATCH  /platform/tasks/{task_id}                       bearer converge
    platform.drafts.create                  POST   /platform/tasks/drafts                          bearer harmless
    platform.drafts.broadcast               POST   /platform/tasks/drafts/broadcast                bearer safe
    platform.drafts.broadcast_with_tracking POST   /platform/tasks/drafts/broadcast-with-tracking  bearer safe
    platform.tasks.patch_tracking_ids       PATCH  /platform/tasks/tracking-ids                    bearer safe
"""
"""Every operation of the API document that a client calls: verb and path (assumed), bearer, replay."""


def row(endpoint: Endpoint[Any]) -> list[str]:
    """An endpoint as a row of the table."""
    return [
        endpoint.name,
        endpoint.verb,
        endpoint.path,
        "bearer" if endpoint.bearer else "-",
        str(endpoint.replay),
    ]


def test_every_operation_of_the_document_is_there() -> None:
    """The table holds exactly the 21 operations, in the order of the document, each under its own name."""
    assert [row(endpoint) for endpoint in ENDPOINTS.values()] == [line.split() for line in TABLE.strip().splitlines()]
    assert len(ENDPOINTS) == 21
    assert all(name == endpoint.name for name, endpoint in ENDPOINTS.items())


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_each_operation_is_whole(endpoint: Endpoint[Any]) -> None:
    """Bodies and answers are models, a GET has no body, every path is a guess, and the section is named."""
    assert issubclass(endpoint.response, Model)
    assert endpoint.request is None or endpoint.request is TaskChanges or issubclass(endpoint.request, Model)
    assert (endpoint.request is None) == (endpoint.verb == "GET")
    assert endpoint.assumed
    assert endpoint.section


def test_what_aiohttp_repeats_by_itself_may_be_repeated() -> None:
    """No operation that must not be repeated uses a verb that HTTP libraries repeat by themselves."""
    for endpoint in ENDPOINTS.values():
        assert endpoint.replay is Replay.SAFE or endpoint.verb in ("POST", "PATCH")


def test_a_value_cannot_leave_its_place_in_the_path() -> None:
    """Slashes, questions and dots inside a value are encoded, and never separate."""
    assert TASKS_GET.url_path({"task_id": "a/../b?c#d é%"}) == "/tasks/a%2F..%2Fb%3Fc%23d%20%C3%A9%25"
    assert TASKS_CREATE.url_path() == "/tasks"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text not in (".", "..")))
def test_any_text_is_one_segment(value: str) -> None:
    """Whatever text a value is, the path has the same segments and only characters that a path may hold."""
    path = TASKS_GET.url_path({"task_id": value})
    assert path.startswith("/tasks/")
    assert path.count("/") == 2
    assert path.isascii()
    assert not set(path) & set("?# \n{}")


@pytest.mark.parametrize("value", ["", ".", "..", None, 5])
def test_a_value_that_leads_elsewhere_is_refused(value: Any) -> None:
    """Nothing, a dot or two would name another path: refused, with the operation and the name."""
    with pytest.raises(UsageError, match=r"tasks\.get: task_id must be text"):
        TASKS_GET.url_path({"task_id": value})
