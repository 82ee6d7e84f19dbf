"""Parsing, help, exit codes and the form of errors."""

import json

import pytest
from milepost_cli.command_table import COMMANDS, load_command
from milepost_cli.main import run

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch) -> None:
    """No stack is near, and none is named."""
    monkeypatch.chdir(tmp_path)
    for name in ("MILEPOST_NATS_URL", "MILEPOST_DIRECTORY", "MILEPOST_HTTP_URL", "MILEPOST_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def leaves_of(command, words: list[str]) -> list:
    """The commands of a group, of its groups too, each with the words that call it."""
    inner = getattr(command, "commands", {})
    if not inner:
        return [(words, command)]
    return [leaf for name, each in inner.items() for leaf in leaves_of(each, [*words, name])]


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_command_has_the_help_of_the_table_an_example_and_json(entry, capsys) -> None:
    """The line in `milepost --help` is the first line of the command's own help."""
    command = load_command(entry.name)
    assert command.help is not None
    assert command.help.splitlines()[0] == entry.help
    for words, leaf in leaves_of(command, [entry.name]):
        assert "milepost" in leaf.epilog, f"{leaf.name} shows no example"
        assert any("--json" in parameter.opts for parameter in leaf.params), f"{leaf.name} has no --json"
        assert run([*words, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_help_is_shown_and_is_a_usage_error_when_nothing_was_asked_for(capsys) -> None:
    """`milepost` alone prints the help and exits with 2; `--help` exits with 0."""
    assert run([]) == 2
    assert "Start here" in capsys.readouterr().out
    assert run(["--help"]) == 0
    assert run(["data"]) == 2
    assert "sample" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["stat"],
        ["ps", "--status", "sleeping"],
        ["ps", "--nonsense"],
        ["start"],
        ["start", "backtest", "{"],
        ["start", "backtest", "--set", "nonsense"],
        ["start", "backtest", "--stop-at-unit", "-1"],
        ["start", "backtest", "--pace", "-5"],
        ["start", "backtest", "--checkpoint-every-seconds", "0"],
        ["start", "back test"],
        ["resume", "op-x", "--pace", "nan"],
        ["up", "--workers", "backtest"],
        ["wait", "op-x", "--timeout", "-1"],
        ["results", "op-x"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_exits_with_2_and_says_what_and_fix(arguments: list[str], capsys) -> None:
    """Usage errors are told apart from every other error, also in JSON, before any server is asked."""
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert "fix: " in captured.err
    assert "Traceback" not in captured.err
    assert run([*arguments, "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert {"code", "message", "fix"} <= document.keys()


@pytest.mark.parametrize(
    "arguments",
    [
        ["ps"],
        ["show", "op-x"],
        ["start", "backtest"],
        ["cancel", "op-x"],
        ["resume", "op-x"],
        ["follow", "op-x"],
        ["wait", "op-x"],
        ["results", "op-x", "--out", "results"],
        ["checkpoints", "list"],
        ["checkpoints", "show", "cp-x"],
        ["events", "show", "op-x"],
        ["data", "list"],
        ["data", "sample"],
        ["workers"],
        ["worker", "backtest"],
    ],
    ids=" ".join,
)
def test_without_a_stack_every_command_exits_with_5_and_says_how_to_start_one(
    arguments: list[str], capsys
) -> None:
    """Nobody is left to guess that `milepost up` is missing."""
    assert run(arguments) == 5
    assert "milepost up" in capsys.readouterr().err
    assert run([*arguments, "--json"]) == 5
    assert "milepost up" in json.loads(capsys.readouterr().out)["fix"]


def test_a_stack_that_does_not_answer_is_unreachable_and_its_password_is_not_shown(
    monkeypatch, capsys
) -> None:
    """Addresses are shown, credentials are not, by any command or traceback."""
    for name, value in {
        "MILEPOST_NATS_URL": "nats://me:hunter2@127.0.0.1:1",
        "MILEPOST_HTTP_URL": "http://127.0.0.1:1",
        "MILEPOST_S3_ENDPOINT": "http://127.0.0.1:1",
        "MILEPOST_S3_ACCESS_KEY": "key",
        "MILEPOST_S3_SECRET_KEY": "hunter2",
        "MILEPOST_DEBUG": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert run(["ps"]) == 5
    assert run(["start", "backtest"]) == 5
    captured = capsys.readouterr()
    assert "127.0.0.1:1" in captured.err
    assert "Traceback" in captured.err, "MILEPOST_DEBUG=1 shows it"
    assert "hunter2" not in captured.out + captured.err


def test_an_unknown_kind_is_not_found_and_the_known_ones_are_named(capsys) -> None:
    """`spec` and `worker` name what is installed."""
    assert run(["spec", "example", "knitting"]) == 3
    assert "backtest" in capsys.readouterr().err
    assert run(["worker", "knitting"]) == 3


def test_down_where_nothing_runs_has_nothing_to_do(capsys) -> None:
    """What is wanted is so already: exit code 0."""
    assert run(["down", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stopped"] is False


def test_the_version_is_printed(capsys) -> None:
    """`milepost --version` names program and version."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("milepost ")
