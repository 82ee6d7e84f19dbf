"""Files and places: results, sample data, where the stack is, what the doctor sees."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from milepost_cli.demo import Comparison, DemoOutcome
from milepost_cli.demo_report import outcome_document
from milepost_cli.demo_stage import MARK, prepare
from milepost_cli.doctor import check_clock, check_disk, check_python, check_secrets
from milepost_cli.downloads import WouldOverwriteError, download, plan
from milepost_cli.errors import NotFoundError, UnreachableError, UsageFaultError, error_of_verdict
from milepost_cli.location import StackLocation, locate, stack_directory
from milepost_cli.operation_view import OperationView
from milepost_cli.samples import SAMPLES, write_sample
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.failures import Problem, RejectionCode
from milepost_contracts.verdicts import Rejected
from milepost_runtime.errors import ArtifactMissingError
from milepost_runtime.store.directory import DirectoryArtifactStore

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path) -> DirectoryArtifactStore:
    """An artifact store on disk."""
    return DirectoryArtifactStore(tmp_path / "store")


@pytest.fixture
def artifacts(store, tmp_path) -> list[ArtifactReference]:
    """Two results, stored."""
    found: list[ArtifactReference] = []
    for name in ("trades.parquet", "equity.parquet"):
        path = tmp_path / name
        path.write_text(name)
        found.append(store.put_file(path, name=name, media_type="application/octet-stream"))
    return found


def test_results_are_written_under_their_names_and_stay_when_they_are_equal(
    store, artifacts, tmp_path
) -> None:
    """The second time nothing is written again."""
    out = tmp_path / "deep" / "out"
    assert {item.state for item in download(store, plan(artifacts, out, force=False))} == {"written"}
    assert (out / "trades.parquet").read_text() == "trades.parquet"
    assert {item.state for item in download(store, plan(artifacts, out, force=False))} == {"unchanged"}


def test_different_files_are_kept_and_all_named_unless_forced(store, artifacts, tmp_path) -> None:
    """Nothing at all is written when anything is in the way."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "trades.parquet").write_text("mine")
    with pytest.raises(WouldOverwriteError) as caught:
        plan(artifacts, out, force=False)
    assert [problem.field for problem in caught.value.words.problems] == ["trades.parquet"]
    assert [path.name for path in out.iterdir()] == ["trades.parquet"]
    download(store, plan(artifacts, out, force=True))
    assert (out / "trades.parquet").read_text() == "trades.parquet"


def test_a_directory_or_a_file_in_the_way_is_never_replaced(artifacts, tmp_path) -> None:
    """Not even with --force."""
    (tmp_path / "file").touch()
    (tmp_path / "out" / "trades.parquet").mkdir(parents=True)
    for out in (tmp_path / "file", tmp_path / "out"):
        with pytest.raises(WouldOverwriteError):
            plan(artifacts, out, force=True)


def test_an_artifact_that_is_gone_leaves_no_file(store, artifacts, tmp_path) -> None:
    """What cannot be verified does not appear."""
    store.delete_artifact(artifacts[0].digest)
    with pytest.raises(ArtifactMissingError):
        download(store, plan(artifacts[:1], tmp_path / "out", force=False))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_holds_years_of_consistent_daily_bars(name: str, tmp_path) -> None:
    """Dates ascend, prices are positive, high and low enclose the others, also after the adjustment."""
    path = tmp_path / "sample.csv"
    count = write_sample(name, path)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count > 2000
    days = [row["timestamp"] for row in rows]
    assert days == sorted(set(days))
    for row in rows:
        low, high = float(row["low"]), float(row["high"])
        assert 0 < low <= min(float(row["open"]), float(row["close"]))
        assert max(float(row["open"]), float(row["close"])) <= high


def test_the_samples_have_no_splits_left_in_them(tmp_path) -> None:
    """AAPL split two for one in 2005; the adjusted prices show no such fall in a day."""
    path = tmp_path / "aapl.csv"
    write_sample("aapl", path)
    with path.open() as file:
        closes = {row["timestamp"]: float(row["close"]) for row in csv.DictReader(file)}
    assert 0.8 < closes["2005-02-28"] / closes["2005-02-25"] < 1.25


def test_an_unknown_sample_is_not_found(tmp_path) -> None:
    """The known ones are named."""
    with pytest.raises(NotFoundError) as caught:
        write_sample("tsla", tmp_path / "x.csv")
    assert "aapl" in caught.value.words.fix


def test_the_stack_is_named_by_option_then_environment_then_place(tmp_path, monkeypatch) -> None:
    """What is said on the command line counts most, the nearest directory least."""
    (tmp_path / ".milepost").mkdir()
    (tmp_path / ".milepost" / "stack.json").write_text("{}")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert stack_directory(None, {}) == tmp_path / ".milepost"
    assert stack_directory(None, {"MILEPOST_DIRECTORY": "/elsewhere"}) == Path("/elsewhere")
    assert stack_directory(Path("here"), {"MILEPOST_DIRECTORY": "/elsewhere"}) == below / "here"


def test_the_environment_names_a_stack_without_any_file(tmp_path, monkeypatch) -> None:
    """A client on another machine needs addresses only."""
    monkeypatch.chdir(tmp_path)
    location = locate(None, {"MILEPOST_NATS_URL": "nats://bus:4222", "MILEPOST_HTTP_URL": "http://api"})
    assert (location.bus().url, location.http_url) == ("nats://bus:4222", "http://api")
    with pytest.raises(UnreachableError):
        locate(tmp_path / "other", {"MILEPOST_NATS_URL": "nats://bus:4222"})


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (RejectionCode.INVALID_SPEC, 4),
        (RejectionCode.RESUME_IN_PROGRESS, 4),
        (RejectionCode.OPERATION_NOT_FOUND, 3),
        (RejectionCode.CHECKPOINT_NOT_FOUND, 3),
        (RejectionCode.UNAVAILABLE, 5),
    ],
)
def test_a_rejected_verdict_keeps_everything_it_says(code: RejectionCode, exit_code: int) -> None:
    """Code, message, fix, problems and the operation it is about."""
    problem = Problem(field="spec.a", message="is wrong")
    rejected = Rejected(
        command_id="cmd-1", code=code, message="m", fix="f", problems=(problem,), operation_id="op-1"
    )
    error = error_of_verdict(rejected)
    assert error.exit_code == exit_code
    assert error.words.document() == {
        "code": code.value,
        "message": "m",
        "fix": "f",
        "problems": [{"field": "spec.a", "message": "is wrong"}],
        "command_id": "cmd-1",
        "operation_id": "op-1",
    }


def test_the_demonstration_leaves_a_directory_of_someone_else_alone(tmp_path) -> None:
    """Only a new one, an empty one, or its own from before is used; its own is made afresh."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").touch()
    with pytest.raises(UsageFaultError):
        prepare(mine)
    assert (mine / "precious").exists()
    place = prepare(tmp_path / "new")
    (place / "left-over").touch()
    assert [path.name for path in prepare(place).iterdir()] == [MARK]


def test_the_demonstration_is_equal_only_when_every_file_is_there_and_the_same(tmp_path) -> None:
    """A file that differs, is missing on one side, or was never compared is not equal."""
    view = OperationView("op-1")
    same = [Comparison(name, "sha256:a", "sha256:a") for name in ("equity.parquet", "trades.parquet")]

    def outcome(*files: Comparison) -> DemoOutcome:
        return DemoOutcome(view, view, view, files, tmp_path)

    assert outcome(*same).equal
    assert outcome_document(outcome(*same))["equal"] is True
    for files in (
        (),
        same[:1],
        same[1:],
        (*same, Comparison("fills.parquet", "sha256:a", "sha256:b")),
        (*same, Comparison("fills.parquet", "sha256:a", "missing")),
    ):
        assert not outcome(*files).equal


def test_the_doctor_tells_what_is_wrong_and_how_to_fix_it(tmp_path) -> None:
    """Each wrong finding carries its way out; right ones carry none."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    secret = tmp_path / "stack.json"
    secret.touch(mode=0o600)
    location = StackLocation({}, "here", tmp_path)
    right = [
        check_python((3, 11, 0)),
        check_clock("Thu, 01 Jan 2026 00:00:00 GMT", now),
        check_clock(None, now),
        check_secrets(location),
        check_disk(tmp_path / "not" / "yet"),
    ]
    assert [finding for finding in right if not finding.ok or finding.fix] == []
    secret.chmod(0o644)
    wrong = [
        check_python((3, 9, 0)),
        check_clock("Thu, 01 Jan 2026 00:00:00 GMT", now + timedelta(minutes=2)),
        check_secrets(location),
    ]
    assert [finding for finding in wrong if finding.ok or not finding.fix] == []
