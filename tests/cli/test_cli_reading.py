"""Commands that only read: what they print for people and in JSON."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from milepost_cli.main import run

from tests.cli.orchestrator_stand_in import OrchestratorStandIn, orchestrator_stand_in

pytestmark = pytest.mark.unit
IDS = ["op-aaaaaaaaaaaaaaaa", "op-aabbbbbbbbbbbbbb", "op-cccccccccccccccc"]
CHECKPOINT = "cp-aaaaaaaaaaaaaaaa"


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def operation(operation_id: str, **fields: object) -> dict[str, object]:
    return {
        "operation_id": operation_id,
        "kind": "backtest",
        "name": "nightly [v2]",
        "status": "running",
        "unit": 2500,
        "total_units": 10_000,
        "unit_name": "bar",
        "attempt": 1,
        "worker_id": "backtest-1",
        "parent_id": None,
        "root_id": operation_id,
        "checkpoint_id": None,
        "reason": None,
        "units_per_second": 250.0,
        "eta_seconds": 30.0,
        "requested_at": ago(60),
        "started_at": ago(50),
        "ended_at": None,
        "failure": None,
        "results": [],
        **fields,
    }


@pytest.fixture
def orchestrator(tmp_path, monkeypatch) -> Iterator[OrchestratorStandIn]:
    """Three operations, one of them cancelled with a checkpoint."""
    monkeypatch.chdir(tmp_path)
    with orchestrator_stand_in() as server:
        monkeypatch.setenv("MILEPOST_NATS_URL", "nats://127.0.0.1:1")
        monkeypatch.setenv("MILEPOST_HTTP_URL", server.url)
        operations = [
            operation(IDS[0]),
            operation(
                IDS[1],
                status="cancelled",
                reason="wrong data",
                checkpoint_id=CHECKPOINT,
                units_per_second=None,
            ),
            operation(
                IDS[2], status="failed", failure={"code": "error", "message": "boom", "fix": "mend it"}
            ),
        ]
        checkpoint: dict[str, object] = {
            "checkpoint_id": CHECKPOINT,
            "operation_id": IDS[1],
            "kind": "backtest",
            "unit": 2500,
            "total_units": 10_000,
            "reason": "cancellation",
            "saved_at": ago(125),
            "size_bytes": 1234,
            "artifacts": [{"name": "state.json", "digest": "sha256:" + "a" * 64, "size_bytes": 1234}],
            "fingerprint": {"engine": "1"},
            "summary": {"cash": 99.5},
        }
        server.lists["/operations"] = ("operations", operations)
        server.lists["/checkpoints"] = ("checkpoints", [checkpoint])
        operations[1]["checkpoints"] = [checkpoint]
        server.documents |= {f"/operations/{item['operation_id']}": (200, item) for item in operations}
        server.documents[f"/checkpoints/{CHECKPOINT}"] = (200, checkpoint)
        server.documents["/workers"] = (200, {"workers": [worker()]})
        yield server


def worker() -> dict[str, object]:
    return {
        "worker_id": "backtest-1",
        "kind": "backtest",
        "host": "here",
        "pid": 77,
        "slots": 2,
        "device": "cpu",
        "version": "1",
        "operations": [IDS[0]],
        "started_at": ago(100),
        "seen_at": ago(2),
    }


def test_ps_says_status_progress_rate_and_time_left_of_every_operation(orchestrator, capsys) -> None:
    """All pages are walked, and a name with brackets is printed as it is."""
    assert run(["ps"]) == 0
    captured = capsys.readouterr()
    out = captured.out
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert set(IDS) <= lines.keys()
    running = lines[IDS[0]]
    for words in (
        "nightly [v2]",
        "running",
        "2,500 of 10,000 bars (25 %)",
        "250 bars/s",
        "30 s",
        "1 min ago",
    ):
        assert words in running
    assert "checkpoint at 2,500, 2 min 5 s ago; wrong data" in lines[IDS[1]]
    assert "boom" in lines[IDS[2]]
    assert f"milepost resume {IDS[1]}" in captured.err


def test_ps_passes_its_filters_on(orchestrator, capsys) -> None:
    """Status and kind are asked of the orchestrator."""
    assert run(["ps", "--status", "cancelled", "--kind", "backtest", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [item["operation_id"] for item in document["operations"]] == [IDS[1]]
    assert "status=cancelled" in orchestrator.asked[0]


def test_ps_and_checkpoints_pass_every_filter_and_order_on(orchestrator, capsys) -> None:
    """Ages are written as people write them, several values are all asked for, the order too."""
    given = [
        "--name",
        "Nightly",
        "--worker",
        "w-1",
        "--worker",
        "w-2",
        "--older-than",
        "2h",
        "--newer-than",
        "7d",
        "--ascending",
    ]
    assert (
        run(["ps", *given, "--root", IDS[0], "--sort", "ended", "--status", "failed", "--status", "queued"])
        == 0
    )
    asked = parse_qs(urlsplit(next(each for each in orchestrator.asked if "ended" in each)).query)
    expected = {
        "name": ["Nightly"],
        "worker_id": ["w-1", "w-2"],
        "age_seconds_min": ["7200.0"],
        "age_seconds_max": ["604800.0"],
        "root_id": [IDS[0]],
        "status": ["failed", "queued"],
        "sort": ["ended"],
        "order": ["asc"],
    }
    assert {key: asked[key] for key in expected} == expected
    assert (
        run(["checkpoints", "list", *given, "--reason", "manual", "--reason", "failure", "--sort", "size"])
        == 0
    )
    asked = parse_qs(urlsplit(orchestrator.asked[-1]).query)
    assert (asked["reason"], asked["sort"], asked["order"]) == (["manual", "failure"], ["size"], ["asc"])
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ps", "--older-than", "soon"], "'soon' is no age"),
        (["ps", "--sort", "colour"], "'colour' is none of requested"),
        (["ps", "--status", "asleep"], "'asleep' is none of queued"),
        (["checkpoints", "list", "--reason", "whim"], "'whim' is none of periodic"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(
    orchestrator, capsys, arguments: list[str], words: str
) -> None:
    """Nothing is asked of the orchestrator, and the message says what could be given."""
    assert run([*arguments, "--json"]) == 2
    assert words in json.loads(capsys.readouterr().out)["message"]
    assert orchestrator.asked == []


def test_show_says_newest_checkpoint_its_age_and_the_command_to_type(orchestrator, capsys) -> None:
    """A cancelled operation shows where it can go on and how."""
    assert run(["show", IDS[1]]) == 0
    captured = capsys.readouterr()
    assert f"{CHECKPOINT} at 2,500 (cancellation), 2 min 5 s ago" in captured.out
    assert "wrong data" in captured.out
    assert f"milepost resume {IDS[1]}" in captured.err


def test_show_says_what_an_operation_waits_for(orchestrator, capsys) -> None:
    """The orchestrator's own words stand beside the status."""
    waiting = {"code": "no-worker", "message": "no worker of kind backtest is alive"}
    orchestrator.documents[f"/operations/{IDS[0]}"] = (
        200,
        operation(IDS[0], status="queued", waiting=waiting),
    )
    assert run(["show", IDS[0]]) == 0
    assert "no worker of kind backtest is alive" in capsys.readouterr().out


def test_show_names_what_failed_and_the_way_out(orchestrator, capsys) -> None:
    """A failure is shown with its code, its words and its fix."""
    assert run(["show", IDS[2]]) == 0
    assert "error; boom; mend it" in capsys.readouterr().out


@pytest.mark.parametrize("typed", [IDS[0], "op-aaa", "aaa", "aaaaaaaaaaaaaaaa"])
def test_an_id_may_be_shortened_to_a_unique_beginning(orchestrator, capsys, typed: str) -> None:
    """With or without `op-`."""
    assert run(["show", typed, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["operation_id"] == IDS[0]


def test_a_beginning_of_several_ids_is_refused_and_they_are_named(orchestrator, capsys) -> None:
    """Nothing is guessed."""
    assert run(["show", "aa", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["code"] == "ambiguous"
    assert IDS[0] in document["message"]
    assert IDS[1] in document["message"]


@pytest.mark.parametrize(
    "command", [["show", "zz"], ["cancel", "zz"], ["resume", "zz"], ["checkpoints", "show", "zz"]]
)
def test_an_id_that_begins_nothing_is_not_found(orchestrator, capsys, command: list[str]) -> None:
    """Exit code 3, and where to look for the right one."""
    assert run([*command, "--json"]) == 3
    assert "milepost" in json.loads(capsys.readouterr().out)["fix"]


def test_checkpoints_are_listed_and_shown_with_artifacts(orchestrator, capsys) -> None:
    """The list has one line each; one of them shows its artifacts and how to go on from it."""
    assert run(["checkpoints", "list", "--operation", "aab"]) == 0
    out = capsys.readouterr().out
    assert CHECKPOINT in out
    assert "2,500 of 10,000" in out
    assert run(["checkpoints", "show", "aaaa"]) == 0
    captured = capsys.readouterr()
    assert "state.json" in captured.out
    assert "1.2 kB" in captured.out
    assert f"milepost resume {IDS[1]} --checkpoint {CHECKPOINT}" in captured.err


def test_workers_are_listed_with_what_they_compute(orchestrator, capsys) -> None:
    """Busy slots of all slots, and when it was last seen."""
    assert run(["workers"]) == 0
    out = capsys.readouterr().out
    assert "1 of 2" in out
    assert "2 s ago" in out
    assert IDS[0] in out


@pytest.mark.parametrize(
    ("status", "document", "exit_code"),
    [
        (404, {"code": "operation-not-found", "detail": "none", "fix": "f"}, 3),
        (409, {"code": "not-resumable", "detail": "no", "fix": "f"}, 4),
        (422, {"code": "bad", "detail": "no", "fix": "f", "problems": [{"field": "a", "message": "b"}]}, 2),
        (503, {"code": "unavailable", "detail": "no database", "fix": "f"}, 5),
        (500, {}, 1),
        (403, {"code": "forbidden", "detail": "no", "fix": "f"}, 1),
    ],
)
def test_a_problem_document_keeps_its_code_words_and_fix(
    orchestrator, capsys, status: int, document: dict[str, object], exit_code: int
) -> None:
    """Each kind of refusal has the exit code of its own."""
    orchestrator.documents["/workers"] = (status, document)
    assert run(["workers", "--json"]) == exit_code
    shown = json.loads(capsys.readouterr().out)
    assert shown["code"] == document.get("code", "http-500")
    assert shown.get("problems", []) == document.get("problems", [])
