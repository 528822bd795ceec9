"""`gotsurge_async.config`: settings, and what they refuse."""

from pathlib import Path

import pytest

from gotsurge_async.client import GotSurge
from gotsurge_async.config import Credentials, Environment, Settings, checked_base, from_env
from gotsurge_async.errors import ConfigError
from gotsurge_async.secrets import Secret


@pytest.mark.parametrize(
    ("name", "consent", "base"),
    [
        ("sandbox", "https://staging.gotsurge.co", "https://staging.gotsurge.co/api/partnership/v1"),
        ("production", "https://app.gotsurge.co", "https://app.gotsurge.co/api/partnership/v1"),
    ],
)
def test_gotsurge_s_own_environments_are_known(name: str, consent: str, base: str) -> None:
    """Sandbox and production need nothing but their name."""
    environment = Environment.named(name)
    assert (environment.name, environment.consent_base, environment.api_base) == (name, consent, base)


def test_local_needs_its_api_base() -> None:
    """The local environment takes its API base, and its consent page from the same host."""
    environment = Environment.named("local", api_base="http://127.0.0.1:8765/api/partnership/v1/")
    assert environment.api_base == "http://127.0.0.1:8765/api/partnership/v1"
    assert environment.consent_base == "http://127.0.0.1:8765"
    with pytest.raises(ConfigError, match="the local environment needs the API base, such as http"):
        Environment.named("local")


def test_an_unknown_environment_is_refused() -> None:
    """The error names the environments that there are."""
    with pytest.raises(ConfigError, match="there is no environment 'staging': use sandbox, production or local"):
        Environment.named("staging")


@pytest.mark.parametrize(
    "url",
    [
        "https://app.gotsurge.co/api/v2/",
        "https://gotsurge.example:8443",
        "http://127.0.0.1:8765/api",
        "http://localhost:8765",
        "http://[::1]:8765/api",
        "HTTPS://app.gotsurge.co",
    ],
)
def test_a_plain_url_is_a_base(url: str) -> None:
    """https to anywhere and http to this machine are taken, without a slash at the end."""
    assert checked_base(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "app.gotsurge.co",
        "ftp://app.gotsurge.co",
        "https://",
        "https://me@app.gotsurge.co",
        "https://me:pw@app.gotsurge.co",
        "https://:pw@app.gotsurge.co",
        "https://app.gotsurge.co/api?key=1",
        "https://app.gotsurge.co/api?",
        "https://app.gotsurge.co/api#top",
        "https://app.gotsurge.co:port/api",
        "https://app.gotsurge.co:99999/api",
        "https://[::1/api",
        "https://app.gotsurge.co /api",
        "https://app.gotsurge.co\\@evil.example/api",
        "https://app.gotsurge.co/a\nb",
        "https://äpp.gotsurge.co",
    ],
)
def test_what_is_no_plain_url_is_no_base(url: str) -> None:
    """User, query, fragment, a bad port or a stray character are refused, without showing the URL."""
    with pytest.raises(ConfigError, match=r"the API base must be a URL such as https://app\.gotsurge\.co") as caught:
        checked_base(url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("host", ["app.gotsurge.co", "192.168.1.4", "127.0.0.1.evil.example", "localhost.example"])
def test_tokens_do_not_travel_in_the_clear(host: str) -> None:
    """Plain http to another machine is refused, however an environment is made."""
    with pytest.raises(ConfigError, match=f"because {host} is another machine"):
        checked_base(f"http://{host}/api")
    with pytest.raises(ConfigError, match="is another machine"):
        Environment(name="mine", consent_base="https://x.example", api_base=f"http://{host}/api")
    with pytest.raises(ConfigError, match="is another machine"):
        Environment.named("production", api_base=f"http://{host}/api")


@pytest.mark.parametrize(
    ("environment", "production"),
    [
        (Environment.named("production"), True),
        (Environment.named("production", api_base="https://proxy.example"), True),
        (Environment.named("sandbox", api_base="https://APP.gotsurge.co./v2"), True),
        (Environment(name="mine", consent_base="", api_base="https://app.gotsurge.co:443/v2"), True),
        (Environment.named("sandbox"), False),
        (Environment.named("local", api_base="http://127.0.0.1:1/x"), False),
    ],
)
def test_production_is_known_by_name_and_by_host(environment: Environment, production: bool) -> None:
    """Whatever an environment calls itself, it is production if it talks to production's host."""
    assert environment.is_production is production


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    """Every variable has its effect, and secrets are wrapped."""
    profile = tmp_path / "profile.toml"
    profile.write_text('api_base = "https://profile.example"\n[endpoints."tasks.get"]\npath = "/orders/{task_id}"\n')
    settings = from_env(
        {
            "GOTSURGE_ENV": "production",
            "GOTSURGE_API_BASE": "https://base.example/",
            "GOTSURGE_PROFILE": str(profile),
            "GOTSURGE_CLIENT_KEY": "key",
            "GOTSURGE_SECRET_KEY": "planted",
            "GOTSURGE_BEARER_TOKEN": "planted-b",
            "GOTSURGE_REFRESH_TOKEN": "planted-r",
        }
    )
    assert settings.environment == Environment.named("production", api_base="https://base.example")
    assert settings.credentials == Credentials(client_key="key", secret_key="planted")
    assert settings.bearer_token == Secret("planted-b")
    assert settings.refresh_token == Secret("planted-r")
    assert settings.profile.endpoints["tasks.get"].path == "/orders/{task_id}"
    assert "planted" not in repr(settings)


def test_without_variables_it_is_the_sandbox() -> None:
    """Nothing set, or set to nothing, is the sandbox without credentials and tokens."""
    for variables in ({}, {"GOTSURGE_ENV": "", "GOTSURGE_CLIENT_KEY": "", "GOTSURGE_PROFILE": "", "HOME": "/"}):
        settings = from_env(variables)
        assert settings == Settings(environment=Environment.named("sandbox"))


def test_the_real_variables_are_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mapping the process's own environment is read."""
    monkeypatch.setenv("GOTSURGE_CLIENT_KEY", "key")
    credentials = from_env().credentials
    assert credentials is not None
    assert credentials.client_key == "key"


def test_a_profile_s_base_stands_behind_the_variable(tmp_path: Path) -> None:
    """The profile's API base holds unless GOTSURGE_API_BASE says another."""
    profile = tmp_path / "profile.toml"
    profile.write_text('api_base = "https://profile.example"')
    variables = {"GOTSURGE_PROFILE": str(profile)}
    assert from_env(variables).environment.api_base == "https://profile.example"
    both = variables | {"GOTSURGE_API_BASE": "https://base.example"}
    assert from_env(both).environment.api_base == "https://base.example"


@pytest.mark.parametrize(
    "variables",
    [
        {"GOTSURGE_ENV": "moon"},
        {"GOTSURGE_ENV": "local"},
        {"GOTSURGE_API_BASE": "http://evil.example"},
        {"GOTSURGE_PROFILE": "/nowhere/profile.toml"},
    ],
)
def test_settings_that_cannot_be_are_refused(variables: dict[str, str]) -> None:
    """An environment, a base or a profile that cannot be right is a ConfigError."""
    with pytest.raises(ConfigError):
        from_env(variables)


@pytest.mark.parametrize("short", ["~", "~q", " ~"])
def test_a_secret_is_long_enough_to_be_hidden(short: str) -> None:
    """One or two characters stand in every text, and hiding them would garble it: they are refused, and not shown."""
    for name, make in (
        ("secret_key", lambda: Credentials(client_key="key", secret_key=short)),
        ("secret_key", lambda: Credentials(client_key="key", secret_key=Secret(short))),
        ("bearer_token", lambda: GotSurge("sandbox", bearer_token=short)),
        ("refresh_token", lambda: GotSurge("sandbox", refresh_token=Secret(short))),
        *(
            (name, lambda name=name: from_env({name: f"{short}\n", "GOTSURGE_CLIENT_KEY": "key"}))
            for name in ("GOTSURGE_SECRET_KEY", "GOTSURGE_BEARER_TOKEN", "GOTSURGE_REFRESH_TOKEN")
        ),
    ):
        with pytest.raises(
            ConfigError,
            match=f"^{name} is too short for a secret: give it as GotSurge issued it, with at least 3 characters",
        ) as caught:
            make()
        assert short not in str(caught.value).removeprefix(name).split()
        assert caught.value.explain_code == "E903"


def test_a_secret_of_three_characters_is_taken() -> None:
    """Tests sign in with short words, such as the "any" of docs/testing.md; an empty secret counts as none."""
    assert Credentials(client_key="key", secret_key="any").secret_key == Secret("any")
    assert GotSurge("sandbox", bearer_token="any")
    assert GotSurge("sandbox", bearer_token="", refresh_token="")
