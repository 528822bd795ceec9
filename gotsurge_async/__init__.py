"""Asyncio client and bulk loader for the GotSurge Partnership API.

The names below are the public API; `gotsurge_async.bulk` holds the push with a ledger, `gotsurge_async.webhooks` what
became of orders afterwards, `gotsurge_async.testing` what your own tests need. Importing the package does not import
aiohttp.
"""

import gotsurge_async.starting  # noqa: F401 - first of all: see there
from gotsurge_async.api.profile import Profile
from gotsurge_async.auth.oauth import OAuth
from gotsurge_async.auth.sealing import Sealer
from gotsurge_async.auth.stores import FileStore, MemoryStore, Tokens, TokenStore
from gotsurge_async.calls.create import Created, InDoubt, OrderResult, Refused, Unprocessed
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
from gotsurge_async.models.places import Address, Contact, TimeWindow
from gotsurge_async.models.platform import Organization
from gotsurge_async.models.prices import PriceVehicle, Quote, Stop
from gotsurge_async.models.rules import Finding, Severity, check_order
from gotsurge_async.models.tasks import (
    BroadcastPreference,
    CargoDetail,
    Item,
    Order,
    Receipt,
    ServiceType,
    Task,
    TaskChanges,
    TaskStatus,
    VehiclePreference,
)
from gotsurge_async.money import Money
from gotsurge_async.resources.partner import SignatureForm
from gotsurge_async.resources.platform.batches import NotUpdated, Updated, UpdateResult
from gotsurge_async.secrets import Secret
from gotsurge_async.version import __version__

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
    "Credentials",
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
    "MemoryStore",
    "Money",
    "NotFound",
    "NotSent",
    "NotUpdated",
    "OAuth",
    "Order",
    "OrderResult",
    "Organization",
    "OutcomeUnknown",
    "PayloadTooLarge",
    "PriceVehicle",
    "Problem",
    "Profile",
    "Quote",
    "RateLimited",
    "Receipt",
    "Refused",
    "Rejected",
    "RetryPolicy",
    "Sealer",
    "Secret",
    "ServiceType",
    "Severity",
    "SignInFailed",
    "SignInNeeded",
    "SignatureForm",
    "Stop",
    "Task",
    "TaskChanges",
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
    "Updated",
    "UsageError",
    "VehiclePreference",
    "VersionConflict",
    "__version__",
    "check_order",
    "unreadable",
    "what_is_known",
]
