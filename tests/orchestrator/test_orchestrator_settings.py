"""Settings that say what is wrong, and documents that are what the code says."""

import pytest
from milepost_contracts.cleanup import KeepBest
from milepost_orchestrator.adapters.settings import DatabaseSettings
from milepost_orchestrator.application.janitor import JanitorSettings
from milepost_orchestrator.bootstrap import OrchestratorSettings
from milepost_orchestrator.entrypoints import asyncapi
from milepost_orchestrator.entrypoints.http_settings import HttpSettings
from milepost_orchestrator.janitor_settings import janitor_settings, orphan_grace_seconds
from milepost_runtime.errors import SettingsError

pytestmark = pytest.mark.unit
TOKEN = "0123456789abcdef"
ENVIRONMENT = {
    "MILEPOST_NATS_URL": "nats://u:secret@127.0.0.1:4222",
    "MILEPOST_DATABASE_URL": "postgresql+asyncpg://u:secret@127.0.0.1:5432/milepost",
    "MILEPOST_S3_ENDPOINT": "http://127.0.0.1:8333",
    "MILEPOST_S3_ACCESS_KEY": "key",
    "MILEPOST_S3_SECRET_KEY": "secret",
}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_needs_no_token(host: str) -> None:
    """Only this machine can come in, so no token is asked for."""
    assert HttpSettings(host=host).on_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "milepost.example"])
def test_other_hosts_need_a_token(host: str) -> None:
    """Off loopback the orchestrator does not start without a token."""
    with pytest.raises(SettingsError, match="MILEPOST_HTTP_TOKEN"):
        HttpSettings(host=host)
    assert HttpSettings(host=host, token=TOKEN).token == TOKEN


@pytest.mark.parametrize(
    ("variable", "value"),
    [("MILEPOST_HTTP_PORT", "http"), ("MILEPOST_HTTP_PORT", "70000"), ("MILEPOST_HTTP_TOKEN", "short")],
)
def test_wrong_http_setting_is_named(variable: str, value: str) -> None:
    """The message names the variable."""
    with pytest.raises(SettingsError, match=variable):
        HttpSettings.from_environment({variable: value})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MILEPOST_NATS_URL", ""),
        ("MILEPOST_DATABASE_URL", ""),
        ("MILEPOST_DATABASE_URL", "sqlite:///x"),
        ("MILEPOST_S3_ENDPOINT", "127.0.0.1:8333"),
        ("MILEPOST_SWEEP_SECONDS", "soon"),
        ("MILEPOST_SWEEP_SECONDS", "0"),
    ],
)
def test_wrong_setting_is_named(variable: str, value: str) -> None:
    """The message names the variable."""
    with pytest.raises(SettingsError, match=variable):
        OrchestratorSettings.from_environment({**ENVIRONMENT, variable: value})


def test_secrets_are_not_shown() -> None:
    """Neither the settings' text nor the shown address holds a password."""
    settings = OrchestratorSettings.from_environment(ENVIRONMENT)
    assert "secret" not in repr(settings.database)
    assert settings.database.shown_url == "127.0.0.1:5432/milepost"
    assert TOKEN not in repr(HttpSettings(token=TOKEN))


def test_schema_must_be_a_plain_name() -> None:
    """A schema's name goes into SQL, so nothing but a plain name is taken."""
    with pytest.raises(SettingsError, match="plain name"):
        DatabaseSettings(ENVIRONMENT["MILEPOST_DATABASE_URL"], schema='x"; DROP')


def test_asyncapi_document_is_what_the_code_says() -> None:
    """The committed document has not drifted, and every reference in it leads somewhere."""
    assert not asyncapi.drifted(), "run `python -m milepost_orchestrator.entrypoints.asyncapi`"
    document = asyncapi.document()
    for reference in _references(document):
        if reference.startswith("#/"):
            found = document
            for part in reference[2:].split("/"):
                found = found[part]
        else:
            assert (asyncapi.PATH.parent / reference).exists(), reference


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in _references(item)]
    if isinstance(value, list):
        return [found for item in value for found in _references(item)]
    return []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MILEPOST_RETENTION_DAYS", "soon", "must be a number"),
        ("MILEPOST_RETENTION_DAYS", "-1", "greater than or equal to 0"),
        ("MILEPOST_RETENTION_KEEP_NEWEST", "1.5", "valid integer"),
        ("MILEPOST_RETENTION_SECONDS", "0", "more than 0"),
        ("MILEPOST_ORPHAN_SWEEP_SECONDS", "-5", "more than 0"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(name: str, value: str, words: str) -> None:
    """What is wrong with it is said, before anything could be deleted."""
    with pytest.raises(SettingsError, match=words):
        janitor_settings({name: value})


def test_a_policy_is_read_and_a_grace_has_a_floor() -> None:
    """Nothing set is no policy; a grace under an hour is refused."""
    assert janitor_settings({}) == JanitorSettings()
    found = janitor_settings(
        {
            "MILEPOST_RETENTION_DAYS": "30",
            "MILEPOST_RETENTION_KEEP_BEST": "-loss",
            "MILEPOST_RETENTION_SECONDS": "60",
        }
    )
    assert found.retention is not None
    assert (found.retention.older_than_seconds, found.retention.keep_newest) == (2_592_000.0, None)
    assert found.retention.keep_best == KeepBest(metric="loss", lowest=True)
    assert (found.retention_interval_seconds, found.sweep_interval_seconds) == (60.0, None)
    assert orphan_grace_seconds({}) == 86_400.0
    with pytest.raises(SettingsError, match="at least 3600"):
        orphan_grace_seconds({"MILEPOST_ORPHAN_GRACE_SECONDS": "60"})
