"""Asyncio client and bulk loader for the GotSurge Partnership API.

The names below are the public API; `gotsurge_async.bulk` holds the push with a ledger, `gotsurge_async.webhooks`
the later events of orders, `gotsurge_async.testing` tools for your own tests. Importing the package does not import
aiohttp.
"""

from typing import TYPE_CHECKING

import gotsurge_async.starting  # noqa: F401 - first of all: see there
from gotsurge_async.starting import Lazy, lazily

if TYPE_CHECKING:
    from gotsurge_async.api.profile import Profile
    from gotsurge_async.auth.oauth import OAuth
    from gotsurge_async.auth.sealing import Sealer
    from gotsurge_async.auth.sign_on import SignedIn
    from gotsurge_async.auth.stores import FileStore, MemoryStore, Tokens, TokenStore
    from gotsurge_async.calls.create import Created, InDoubt, OrderResult, PushStream, Refused, Unprocessed
    from gotsurge_async.client import GotSurge
    from gotsurge_async.codec import unreadable
    from gotsurge_async.config import Credentials, Environment, Limits, RetryPolicy, Timeouts
    from gotsurge_async.errors import (
        BadRequest,
        CallError,
        ConfigError,
        Conflict,
        Forbidden,
        GotSurgeError,
        InvalidData,
        NotFound,
        NotSent,
        OutcomeUnknown,
        PayloadTooLarge,
        Problem,
        RateLimited,
        Rejected,
        SignInFailed,
        SignInNeeded,
        TooLateToCancel,
        Unauthorized,
        UnreadableAnswer,
        UsageError,
        VersionConflict,
        what_is_known,
    )
    from gotsurge_async.models.answers import CreatedTasks, Driver, StatusEntry, Task
    from gotsurge_async.models.auth import PartnerDetail, User
    from gotsurge_async.models.places import Address, Contact, TimeWindow
    from gotsurge_async.models.platform import (
        Organization,
        OrganizationPage,
        PageMeta,
        PriceStep,
        Role,
        TaskPage,
        UpdatedTask,
        UpdatedTasks,
    )
    from gotsurge_async.models.prices import PriceVehicle, Quote, Stop
    from gotsurge_async.models.rules import Finding, Severity, check_order
    from gotsurge_async.models.tasks import (
        BroadcastPreference,
        CargoDetail,
        Item,
        Message,
        Order,
        Receipt,
        ServiceType,
        TaskChanges,
        TaskStatus,
        VehiclePreference,
    )
    from gotsurge_async.money import Money
    from gotsurge_async.resources.listing import Listing
    from gotsurge_async.resources.partner import SignatureForm
    from gotsurge_async.resources.platform.tasks import NotUpdated, Updated, UpdateResult, UpdateStream
    from gotsurge_async.secrets import Secret
    from gotsurge_async.transports.base import Response
    from gotsurge_async.version import __version__

_HOMES = {
    "api.profile": "Profile",
    "auth.oauth": "OAuth",
    "auth.sealing": "Sealer",
    "auth.sign_on": "SignedIn",
    "auth.stores": "FileStore MemoryStore Tokens TokenStore",
    "calls.create": "Created InDoubt OrderResult PushStream Refused Unprocessed",
    "client": "GotSurge",
    "codec": "unreadable",
    "config": "Credentials Environment Limits RetryPolicy Timeouts",
    "errors": "BadRequest CallError ConfigError Conflict Forbidden GotSurgeError InvalidData NotFound NotSent "
    "OutcomeUnknown PayloadTooLarge Problem RateLimited Rejected SignInFailed SignInNeeded TooLateToCancel "
    "Unauthorized UnreadableAnswer UsageError VersionConflict what_is_known",
    "models.answers": "CreatedTasks Driver StatusEntry Task",
    "models.auth": "PartnerDetail User",
    "models.places": "Address Contact TimeWindow",
    "models.platform": "Organization OrganizationPage PageMeta PriceStep Role TaskPage UpdatedTask UpdatedTasks",
    "models.prices": "PriceVehicle Quote Stop",
    "models.rules": "Finding Severity check_order",
    "models.tasks": "BroadcastPreference CargoDetail Item Message Order Receipt ServiceType TaskChanges TaskStatus "
    "VehiclePreference",
    "money": "Money",
    "resources.listing": "Listing",
    "resources.partner": "SignatureForm",
    "resources.platform.tasks": "NotUpdated Updated UpdateResult UpdateStream",
    "secrets": "Secret",
    "transports.base": "Response",
    "version": "__version__",
}
"""The public names by the module that defines them: each is imported on first use."""


__all__ = [
    "Address",
    "BadRequest",
    "BroadcastPreference",
    "CallError",
    "CargoDetail",
    "ConfigError",
    "Conflict",
    "Contact",
    "Created",
    "CreatedTasks",
    "Credentials",
    "Driver",
    "Environment",
    "FileStore",
    "Finding",
    "Forbidden",
    "GotSurge",
    "GotSurgeError",
    "InDoubt",
    "InvalidData",
    "Item",
    "Limits",
    "Listing",
    "MemoryStore",
    "Message",
    "Money",
    "NotFound",
    "NotSent",
    "NotUpdated",
    "OAuth",
    "Order",
    "OrderResult",
    "Organization",
    "OrganizationPage",
    "OutcomeUnknown",
    "PageMeta",
    "PartnerDetail",
    "PayloadTooLarge",
    "PriceStep",
    "PriceVehicle",
    "Problem",
    "Profile",
    "PushStream",
    "Quote",
    "RateLimited",
    "Receipt",
    "Refused",
    "Rejected",
    "Response",
    "RetryPolicy",
    "Role",
    "Sealer",
    "Secret",
    "ServiceType",
    "Severity",
    "SignInFailed",
    "SignInNeeded",
    "SignatureForm",
    "SignedIn",
    "StatusEntry",
    "Stop",
    "Task",
    "TaskChanges",
    "TaskPage",
    "TaskStatus",
    "TimeWindow",
    "Timeouts",
    "TokenStore",
    "Tokens",
    "TooLateToCancel",
    "Unauthorized",
    "Unprocessed",
    "UnreadableAnswer",
    "UpdateResult",
    "UpdateStream",
    "Updated",
    "UpdatedTask",
    "UpdatedTasks",
    "UsageError",
    "User",
    "VehiclePreference",
    "VersionConflict",
    "__version__",
    "check_order",
    "unreadable",
    "what_is_known",
]

__getattr__: Lazy = lazily(__name__, _HOMES)
