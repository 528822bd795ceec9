"""As whom a proposal would be sent: it is sent as the account for which it was made, and as no other."""

import hashlib
import os
from collections.abc import Sequence

import msgspec

from gotsurge_async.cli.agents.sending import send_approved
from gotsurge_async.cli.shared.credentials import find_credentials, token_file
from gotsurge_async.config import from_env
from gotsurge_async.errors import UsageError
from gotsurge_async.ledger import Ledger
from gotsurge_async.ledger.proposals import Proposal


def account_of(words: Sequence[str]) -> str:
    """The account of a command that is sent from this process, with a fingerprint of what signs it in.

    The fingerprint is of the host, the client key, and the place of the tokens, or the token of the variables.

    Raises:
        ConfigError: the variables or the configuration file cannot be right.
    """
    if words[0] == "resolve":  # it makes no call
        return ""
    cut = (word.removeprefix("--").partition("=") for word in words[: words.index("--")])
    options = {option: value for option, _, value in cut}
    place = {"GOTSURGE_ENV": options["env"], "GOTSURGE_API_BASE": options.get("api-base", "")}
    settings, name = from_env({**os.environ, **place}), options.get("account")
    credentials = find_credentials(settings, name)
    tokens = [each and each.reveal() for each in (settings.bearer_token, settings.refresh_token)]
    stored = None if any(tokens) else (os.environ.get("GOTSURGE_TOKEN_STORE"), str(token_file().absolute()))
    key = credentials and credentials.client_key
    what = msgspec.json.encode((settings.environment.api_base, name, key, tokens, stored))
    return f"{name or 'the usual one'}, fingerprint {hashlib.sha256(what).hexdigest()[:12]}"


async def send_as_proposed(ledger: Ledger, proposal: Proposal, by: str, *, again: bool = False) -> Proposal:
    """Approve a proposal and send it; see `send_approved`.

    Raises:
        UsageError: so that raises, or it would be sent as another account; nothing was sent.
    """
    account = account_of(proposal.request.words)
    if account != proposal.request.account:
        why = (
            f"proposal {proposal.id} was made as account {proposal.request.account}, and this is {account}: nothing "
            "was sent; approve it with the variables and the configuration of gotsurge mcp"
        )
        raise UsageError(why, "E614")
    return await send_approved(ledger, proposal, by, again=again)
