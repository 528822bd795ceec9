"""The request loop of sign-ins on a transport of the test's own."""

from gotsurge_async.api.profile import Profile
from gotsurge_async.auth.oauth import OAuth
from gotsurge_async.calls.limiter import Limiter
from gotsurge_async.calls.session import Session
from gotsurge_async.config import Credentials, Environment, Limits, RetryPolicy
from gotsurge_async.hooks import Hook, Hooks
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import Transport

KEYS = Credentials(client_key="the-client-key", secret_key="planted-secret-key")


def oauth(
    transport: Transport,
    clock: ManualClock,
    *,
    credentials: Credentials | None = KEYS,
    profile: Profile = Profile(),  # noqa: B008 - frozen
    listener: Hook | None = None,
) -> OAuth:
    """Sign-ins that try twice, without a wait."""
    environment = Environment.named("sandbox")
    session = Session(
        transport=transport,
        tokens=None,
        limiter=Limiter(Limits(), clock),
        api_base=environment.api_base,
        profile=profile,
        policy=RetryPolicy(attempts=2, base=0.0, cap=0.0),
        hooks=Hooks(*([listener] if listener else [])),
        clock=clock,
    )
    return OAuth(environment=environment, credentials=credentials, clock=clock, call=session.call)
