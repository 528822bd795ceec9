"""The partner's credentials: from environment variables, the configuration file, or a question. Never from arguments,
which every user of the machine can read.

The configuration file is TOML, for its owner alone when it holds a secret key::

    [sandbox]
    client_key = "…"
    secret_key = "…"

    [sandbox.accounts.acme]   # only where an account has credentials of its own
    client_key = "…"
"""

import os
import tomllib
from pathlib import Path
from typing import Any

import click
import msgspec
import platformdirs

from gotsurge_async.auth.sealing import read_private, write_private
from gotsurge_async.config import Credentials, Settings
from gotsurge_async.errors import ConfigError
from gotsurge_async.secrets import Secret


def config_file() -> Path:
    """GOTSURGE_CONFIG_FILE, or config.toml in the user's configuration folder."""
    return Path(os.environ.get("GOTSURGE_CONFIG_FILE") or platformdirs.user_config_path("gotsurge") / "config.toml")


def find_credentials(settings: Settings, account: str | None) -> Credentials | None:
    """The credentials of the environment variables, else of the configuration file; None without any.

    Raises:
        ConfigError: the file cannot be read, is not what the module says, or may be read by others.
    """
    if settings.credentials is not None:
        return settings.credentials
    section = _section(_read(), settings.environment.name, account)
    client_key, secret_key = section.get("client_key"), section.get("secret_key")
    if client_key is None:
        return None
    if not isinstance(client_key, str) or not isinstance(secret_key, str | None):
        raise ConfigError(f"{config_file()}: client_key and secret_key are texts")
    return Credentials(client_key=client_key, secret_key=secret_key)


def ask_credentials(known: Credentials | None) -> Credentials:
    """Ask for what is missing; the secret key is not shown while it is typed."""
    client_key = known.client_key if known else click.prompt("Client key", err=True)
    secret_key = click.prompt("Secret key", hide_input=True, err=True)
    return Credentials(client_key=client_key.strip(), secret_key=Secret(secret_key.strip()))


def remember_client_key(environment: str, client_key: str) -> Path | None:
    """Write the client key, which renewing needs and which is no secret, into the configuration file.

    Returns:
        The file; None when it has a section for this environment already, which stays as it is.
    """
    path = config_file()
    if environment in _read():
        return None
    before = read_private(path, "the configuration file") if path.exists() else ""
    text = f"[{environment}]\nclient_key = {msgspec.json.encode(client_key).decode()}\n"
    write_private(path, f"{before.rstrip()}\n\n{text}".lstrip().encode(), "the configuration file")
    return path


def _read() -> dict[str, Any]:
    path = config_file()
    if not path.exists():
        return {}
    try:
        return tomllib.loads(read_private(path, "the configuration file"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def _section(config: dict[str, Any], environment: str, account: str | None) -> dict[str, Any]:
    section = config.get(environment, {})
    own = section.get("accounts", {}).get(account, {}) if isinstance(section, dict) and account else {}
    if not isinstance(section, dict) or not isinstance(own, dict):
        raise ConfigError(f"{config_file()}: [{environment}] is a table with client_key and secret_key")
    return own if "client_key" in own else section
