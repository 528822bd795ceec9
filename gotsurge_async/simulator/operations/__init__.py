"""Every operation of the endpoint table: who may call it, and what does its work."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ..replies import Call, Caller, RefusedError, Reply, refusal_reply
from ..service import Service
from . import auth, tasks

Public = Callable[[Service, Call], Reply]
Private = Callable[[Service, Call, Caller], Reply]

PUBLIC: Mapping[str, Public] = MappingProxyType(
    {
        "auth.exchange": auth.exchange,
        "auth.refresh": auth.refresh,
    }
)
"""Operations that carry no bearer token."""

PRIVATE: Mapping[str, Private] = MappingProxyType(
    {
        "tasks.create": tasks.create,
        "tasks.get": tasks.get,
        "tasks.cancel": tasks.cancel,
    }
)
"""Operations for any partner with a bearer token."""


def perform(service: Service, operation: str, call: Call) -> Reply:
    """Do what a call asks for, or refuse it; every refusal has the shape that the options ask for."""
    try:
        public = PUBLIC.get(operation)
        if public is not None:
            return public(service, call)
        caller = service.sign_in.caller(call.authorization, call.now)
        private = PRIVATE.get(operation)
        if private is None:
            raise RefusedError(501, "not_implemented", f"{operation} is not simulated")
        return private(service, call, caller)
    except RefusedError as refused:
        return refusal_reply(refused, service.options)
