"""Every operation of the endpoint table: who may call it, and the function that performs it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from gotsurge_async.simulator.operations import accounts, creates, prices, tasks
from gotsurge_async.simulator.replies import Call, RefusedError, Reply, refusal_reply
from gotsurge_async.simulator.shapes import reshaped
from gotsurge_async.simulator.state.accounts import ORG_ADMIN, Caller
from gotsurge_async.simulator.state.service import Service

Who = Literal["anyone", "partner", "platform partner", "OrgAdmin"]
"""``anyone`` needs no bearer token; an OrgAdmin belongs to a platform partner's own organization."""

OPERATIONS: Mapping[str, tuple[Who, Callable[..., Reply]]] = {
    "partner.detail": ("anyone", accounts.partner_detail),
    "auth.exchange": ("anyone", accounts.exchange),
    "auth.refresh": ("anyone", accounts.refresh),
    "platform.sso.exchange": ("anyone", accounts.exchange_session),
    "tasks.create": ("partner", creates.create),
    "tasks.get": ("partner", tasks.get),
    "tasks.cancel": ("partner", tasks.cancel),
    "prices.recommend": ("partner", prices.recommend),
    "platform.organizations.create": ("platform partner", accounts.create_organization),
    "platform.organizations.list": ("platform partner", accounts.list_organizations),
    "platform.organizations.get": ("platform partner", accounts.get_organization),
    "platform.organizations.roles": ("platform partner", accounts.list_roles),
    "platform.drafts.broadcast_with_tracking": ("platform partner", tasks.broadcast_with_tracking),
    "platform.tasks.patch_tracking_ids": ("platform partner", tasks.patch_tracking_ids),
    "platform.users.invite": ("OrgAdmin", accounts.invite),
    "platform.tasks.create": ("OrgAdmin", partial(creates.create, counted=True)),
    "platform.tasks.list": ("OrgAdmin", tasks.list_all),
    "platform.tasks.get": ("OrgAdmin", tasks.get),
    "platform.tasks.update": ("OrgAdmin", tasks.update),
    "platform.drafts.create": ("OrgAdmin", partial(creates.create, draft=True, counted=True)),
    "platform.drafts.broadcast": ("OrgAdmin", tasks.broadcast),
}
"""Each function receives the service and the call, and the caller unless ``anyone`` may call it."""


def perform(service: Service, operation: str, call: Call) -> Reply:
    """Perform a call, or refuse it; the answer has the shape that the options require."""
    who, run = OPERATIONS[operation]
    try:
        if who == "anyone":
            reply = run(service, call)
        else:
            caller = service.sign_in.caller(call.authorization, call.now)
            if who != "partner":
                _check_caller(who, caller)
            reply = run(service, call, caller)
    except RefusedError as refused:
        return refusal_reply(refused, service.options)
    return reshaped(reply, operation, service.options) if service.reshapes else reply


def _check_caller(who: Who, caller: Caller) -> None:
    """Raise a 403 refusal for a caller who may not call a platform partner's operation."""
    if not caller.account.platform:
        raise RefusedError(403, "forbidden", "Only platform partners are authorized")
    user = caller.user
    if who == "OrgAdmin" and (user.org_id != caller.account.org_id or ORG_ADMIN not in user.roles):
        raise RefusedError(403, "forbidden", "Only the platform partner's OrgAdmin is authorized")
