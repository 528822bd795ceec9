"""Every operation of the endpoint table: who may call it, and what does its work."""

from collections.abc import Callable, Mapping

from gotsurge_async.simulator.operations import auth, creates, drafts, organizations, prices, tasks
from gotsurge_async.simulator.replies import Call, RefusedError, Reply, refusal_reply
from gotsurge_async.simulator.shapes import reshaped
from gotsurge_async.simulator.state.partners import ORG_ADMIN, Caller
from gotsurge_async.simulator.state.service import Service

Public = Callable[[Service, Call], Reply]
Private = Callable[[Service, Call, Caller], Reply]

PUBLIC: Mapping[str, Public] = {
    "partner.detail": auth.partner_detail,
    "auth.exchange": auth.exchange,
    "auth.refresh": auth.refresh,
    "platform.sso.exchange": auth.exchange_session,
}
"""Operations that carry no bearer token."""

ANY_PARTNER: Mapping[str, Private] = {
    "tasks.create": creates.create,
    "tasks.get": tasks.get,
    "tasks.cancel": tasks.cancel,
    "prices.recommend": prices.recommend,
}
"""Operations for whoever has a bearer token."""

PLATFORM_PARTNER: Mapping[str, Private] = {
    "platform.organizations.create": organizations.create,
    "platform.organizations.list": organizations.list_all,
    "platform.organizations.get": organizations.get,
    "platform.organizations.roles": organizations.roles,
    "platform.drafts.broadcast_with_tracking": drafts.broadcast_with_tracking,
    "platform.tasks.patch_tracking_ids": drafts.patch_tracking_ids,
}
"""Operations for platform partners ("Only Platform Partners Merchant is authorized")."""

ORGANIZATION_ADMIN: Mapping[str, Private] = {
    "platform.users.invite": organizations.invite,
    "platform.tasks.create": creates.create_for_platform,
    "platform.tasks.list": tasks.list_all,
    "platform.tasks.get": tasks.get,
    "platform.tasks.update": tasks.update,
    "platform.drafts.create": creates.create_drafts,
    "platform.drafts.broadcast": drafts.broadcast,
}
"""Operations for the OrgAdmin of a platform partner ("Only Platform Partner's OrgAdmin is authorized")."""


def perform(service: Service, operation: str, call: Call) -> Reply:
    """Do what a call asks for, or refuse it; every answer has the shape that the options ask for."""
    try:
        if operation in PUBLIC:
            reply = PUBLIC[operation](service, call)
        else:
            caller = service.sign_in.caller(call.authorization, call.now)
            reply = _admitted(operation, caller)(service, call, caller)
    except RefusedError as refused:
        return refusal_reply(refused, service.options)
    return reshaped(reply, operation, service.options) if service.reshapes else reply


def _admitted(operation: str, caller: Caller) -> Private:
    """What does the work of an operation; raises a 403 refusal when it is not for this caller."""
    if operation in ANY_PARTNER:
        return ANY_PARTNER[operation]
    if not caller.account.platform:
        raise RefusedError(403, "forbidden", "Only platform partners are authorized")
    if operation in PLATFORM_PARTNER:
        return PLATFORM_PARTNER[operation]
    user = caller.user
    if user.org_id != caller.account.org_id or ORG_ADMIN not in user.roles:
        raise RefusedError(403, "forbidden", "Only the platform partner's OrgAdmin is authorized")
    return ORGANIZATION_ADMIN[operation]
