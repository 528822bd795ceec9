"""What a single sign-on returns."""

from msgspec import Struct

from gotsurge_async.auth.stores import Tokens
from gotsurge_async.models.auth import User


class SignedIn(Struct, frozen=True, kw_only=True):
    """The result of a single sign-on: tokens, and their user."""

    tokens: Tokens
    user: User | None = None
