"""The examples for services that know nothing of Milepost's own code, run as their authors would run them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.e2e.command_line import CommandLine

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples" / "other-services"
STAND_INS = Path(__file__).parent / "stand_ins"
WAIT_SECONDS = 60.0
PROGRAMS = {
    "python": [sys.executable, str(EXAMPLES / "python" / "commands.py")],
    "typescript": ["node", str(EXAMPLES / "typescript" / "dist" / "commands.js")],
    "nats-cli": ["bash", str(EXAMPLES / "nats-cli" / "commands.sh")],
    "curl": ["bash", str(EXAMPLES / "curl" / "commands.sh")],
}
ASKED_BY = {"curl": "/http"}


@pytest.fixture(scope="module")
def environment(milepost: CommandLine) -> dict[str, str]:
    """What such a service is given: an address and the bus user who may do least."""
    stack = json.loads((milepost.directory / "stack.json").read_text())
    password = json.loads((milepost.directory / "credentials.json").read_text())["nats_client"]
    parts = urlsplit(stack["endpoints"]["MILEPOST_NATS_URL"])
    least = parts._replace(netloc=f"client:{password}@{parts.hostname}:{parts.port}")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    path = os.pathsep.join([str(STAND_INS), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **kept,
        "PATH": path,
        "MILEPOST_NATS_URL": urlunsplit(least),
        "MILEPOST_HTTP_URL": stack["http_url"],
    }


def run(
    language: str, environment: Mapping[str, str], spec: Path, name: str
) -> subprocess.CompletedProcess[str]:
    if language == "typescript":
        built = EXAMPLES / "typescript" / "dist" / "commands.js"
        newest = max(path.stat().st_mtime for path in (EXAMPLES / "typescript").glob("*.*s*"))
        assert built.exists(), "`make examples` builds it"
        assert built.stat().st_mtime >= newest, "`make examples` builds it anew"
    return subprocess.run(
        [*PROGRAMS[language], "backtest", str(spec), name],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        env=dict(environment),
        check=False,
    )


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A good spec and one with two faults."""
    place = tmp_path_factory.mktemp("specs")
    good, bad = place / "good.json", place / "bad.json"
    good.write_text(json.dumps({"data": {"name": "walk"}}))
    bad.write_text(json.dumps({"data": {"name": "walk"}, "commission_rate": -1, "colour": "red"}))
    return good, bad


@pytest.mark.parametrize("language", PROGRAMS)
def test_a_service_starts_cancels_and_resumes(
    milepost: CommandLine, environment: dict[str, str], specs: tuple[Path, Path], language: str
) -> None:
    """It hears verdicts and ends; run again with the same name nothing happens twice; a no is explained."""
    good, bad = specs
    done = run(language, environment, good, f"e8-{language}")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["verdicts"] == ["accepted", "accepted", "accepted"]
    # Where the request comes late, on a busy machine, it stops at the next unit.
    assert said["stopped"]["event"] == "milepost.operation.cancelled.v1"
    assert 4000 <= said["stopped"]["unit"] < 10_000
    assert said["ended"] == {"event": "milepost.operation.completed.v1", "unit": 10_000}
    shown = milepost.json("show", said["child"])
    assert (shown["parent_id"], shown["status"]) == (said["parent"], "completed")
    first = milepost.json("events", "show", said["child"])["events"][0]["data"]
    assert first["requested_by"] == ASKED_BY.get(language, "/nightly")

    again = json.loads(run(language, environment, good, f"e8-{language}").stdout)
    assert (again["parent"], again["child"]) == (said["parent"], said["child"])
    assert again["verdicts"][0] == again["verdicts"][2] == "duplicate"

    refused = run(language, environment, bad, f"e8-{language}-bad")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert all(word in refused.stderr for word in ("invalid-spec", "commission_rate", "colour"))
