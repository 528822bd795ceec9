"""Who may use the simulator: two partner accounts with fixed credentials, and the people who work for them."""

from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

ORG_ADMIN = "OrgAdmin"


def _masked(_: str) -> str:
    return "'***'"


@frozen(kw_only=True)
class Account:
    """A partner account: what GotSurge hands to a partner, and what it knows about it.

    ``platform`` tells a platform partner, which may use the operations of the section "Platform Partners".
    """

    name: str
    client_key: str
    secret_key: str = field(repr=_masked)
    org_id: str
    platform: bool
    business_name: str


@frozen(kw_only=True)
class User:
    """A person with a GotSurge login, who works for an organization of an account."""

    id: str
    account: str
    org_id: str
    email: str
    name: str
    password: str = field(repr=_masked)
    roles: tuple[str, ...]


def fixed_accounts() -> Mapping[str, Account]:
    """The accounts that every simulator starts with, by name."""
    plain = Account(
        name="plain",
        client_key="plain-client-key",
        secret_key="plain-secret-key",  # noqa: S106 - a fixed credential of a local stand-in, printed at its start
        org_id="00000000-0000-4000-8000-00000000000a",
        platform=False,
        business_name="Plain Partner",
    )
    platform = Account(
        name="platform",
        client_key="platform-client-key",
        secret_key="platform-secret-key",  # noqa: S106 - as above
        org_id="00000000-0000-4000-8000-00000000000b",
        platform=True,
        business_name="Platform Partner",
    )
    return MappingProxyType({account.name: account for account in (plain, platform)})


def fixed_users(accounts: Mapping[str, Account]) -> tuple[User, ...]:
    """One person for each account, its OrgAdmin."""
    return tuple(
        User(
            id=f"00000000-0000-4000-8000-0000000001{number:02d}",
            account=account.name,
            org_id=account.org_id,
            email=f"{account.name}@example.com",
            name=f"{account.name.title()} Admin",
            password=f"{account.name}-password",
            roles=(ORG_ADMIN,),
        )
        for number, account in enumerate(accounts.values(), start=1)
    )
