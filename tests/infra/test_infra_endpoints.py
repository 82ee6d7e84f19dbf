"""Endpoints: read from settings, handed on, kept in a private file, never shown with their secrets."""

import stat
from pathlib import Path

import pytest
from milepost_infra.endpoints import StackEndpoints
from milepost_infra.private_files import write_private
from milepost_runtime.errors import SettingsError

pytestmark = pytest.mark.unit

ENVIRONMENT = {
    "MILEPOST_NATS_URL": "nats://me:bus-secret@bus:4222",
    "MILEPOST_PREFIX": "tenant",
    "MILEPOST_DATABASE_URL": "postgresql+asyncpg://me:db-secret@db:5432/milepost",
    "MILEPOST_S3_ENDPOINT": "https://s3.example",
    "MILEPOST_S3_ACCESS_KEY": "access-secret",
    "MILEPOST_S3_SECRET_KEY": "key-secret",
    "MILEPOST_S3_BUCKET": "bucket",
    "MILEPOST_S3_REGION": "eu-central-1",
}


def test_the_environment_survives_the_round_trip() -> None:
    """A child that gets ``environment`` reads the same endpoints."""
    endpoints = StackEndpoints.from_environment(ENVIRONMENT)
    assert endpoints.environment() == ENVIRONMENT
    assert StackEndpoints.from_environment(endpoints.environment()) == endpoints


def test_a_saved_file_is_private_and_whole(tmp_path: Path) -> None:
    """``load`` returns what ``save`` wrote; the file is for its owner only, and no other file stays."""
    endpoints = StackEndpoints.from_environment(ENVIRONMENT)
    path = tmp_path / "endpoints.json"
    path.write_text("what was there before")
    path.chmod(0o644)
    endpoints.save(path)
    assert StackEndpoints.load(path) == endpoints
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_no_secret_is_shown() -> None:
    """The representation names the servers and none of the secrets."""
    shown = repr(StackEndpoints.from_environment(ENVIRONMENT))
    assert "bus:4222" in shown
    assert "db:5432/milepost" in shown
    assert "secret" not in shown


@pytest.mark.parametrize(
    "name",
    ["MILEPOST_NATS_URL", "MILEPOST_DATABASE_URL", "MILEPOST_S3_ENDPOINT", "MILEPOST_S3_ACCESS_KEY"],
)
def test_a_missing_setting_is_named(name: str) -> None:
    """What is missing is said by its name."""
    incomplete = {key: value for key, value in ENVIRONMENT.items() if key != name}
    with pytest.raises(SettingsError, match=name):
        StackEndpoints.from_environment(incomplete)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"MILEPOST_NATS_URL": 3}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    """A file that holds no endpoints is an error of the settings, not a traceback of JSON."""
    path = tmp_path / "endpoints.json"
    path.write_text(content)
    with pytest.raises(SettingsError):
        StackEndpoints.load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """When the new content cannot be written the old file stays, and no temporary one."""
    path = tmp_path / "file"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
