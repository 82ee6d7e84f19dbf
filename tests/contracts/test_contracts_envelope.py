"""Messages on the wire: CloudEvents documents that come back as they were sent."""

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_contracts.commands import COMMANDS, StartOperation, command_name
from milepost_contracts.errors import ContractError, UnknownEventError, UpcastLoopError
from milepost_contracts.events import EVENTS, TERMINAL_EVENTS, Claimed, Progress
from milepost_contracts.examples import COMMAND_EXAMPLES, EVENT_EXAMPLES, VERDICT_EXAMPLES
from milepost_contracts.messages import (
    decode,
    decode_command,
    encode,
    envelop_command,
    envelop_event,
)
from milepost_contracts.problems import problems_of
from milepost_contracts.upcasting import UpcasterRegistry, decode_event
from milepost_contracts.verdicts import VERDICT
from pydantic import ValidationError

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
EXTENSIONS = {"correlationid", "causationid", "sequence", "traceparent"}


def progress(**metrics: float) -> Progress:
    return Progress(attempt=1, unit=3, total_units=9, metrics=metrics)


def sent(event: Progress):
    return encode(envelop_event(event, event_id="ev-1", operation_id="op-1", source="/w", time=NOW))


@given(st.dictionaries(st.text(max_size=5), st.floats(), max_size=5))
def test_any_float_survives_the_wire(metrics: dict[str, float]) -> None:
    """Every float comes back bit for bit, NaN and the infinities included, and the document stays strict JSON."""
    wire = sent(Progress(attempt=1, unit=3, total_units=9, metrics=metrics))
    json.loads(wire, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    back = decode_event(decode(wire))
    assert isinstance(back, Progress)
    assert {name: value.hex() for name, value in back.metrics.items()} == {
        name: value.hex() for name, value in metrics.items()
    }


def test_nan_in_free_fields_does_not_become_null() -> None:
    """NaN inside free JSON such as a summary arrives as the word and not as nothing."""
    example = EVENT_EXAMPLES["milepost.operation.completed.v1"]
    changed = example.model_copy(update={"data": {**example.data, "summary": {"sharpe": math.nan}}})
    assert decode_event(decode(encode(changed))).summary == {"sharpe": "NaN"}


def test_absent_extensions_are_left_out() -> None:
    """CloudEvents knows no null attributes: what is absent is not written."""
    document = json.loads(sent(progress(loss=0.5)))
    assert EXTENSIONS.isdisjoint(document)
    assert document["specversion"] == "1.0"
    assert document["type"] == "milepost.operation.progress.v1"
    assert document["time"] == "2026-11-23T12:00:00.123456Z"


def test_null_fields_of_the_data_are_kept() -> None:
    """Only the envelope leaves absent attributes out; the data is as the model has it."""
    assert json.loads(sent(progress()))["data"]["units_per_second"] is None


def test_present_extensions_come_back() -> None:
    """Lineage, cause and trace travel with the message."""
    envelope = envelop_event(
        progress(),
        event_id="ev-1",
        operation_id="op-1",
        source="/w",
        time=NOW,
        correlation_id="op-0",
        causation_id="cmd-1",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
    back = decode(encode(envelope))
    assert (back.correlationid, back.causationid) == ("op-0", "cmd-1")
    assert back.traceparent == envelope.traceparent
    assert back.time == NOW


@pytest.mark.parametrize(
    "change",
    [
        {"specversion": "0.3"},
        {"type": "com.example.thing"},
        {"id": ""},
        {"time": "2026-11-23T12:00:00"},
        {"surprise": 1},
        {"data": None},
    ],
)
def test_what_is_no_document_of_ours_is_refused(change: dict[str, object]) -> None:
    """A message that does not keep to the contract is named as such and never guessed at."""
    document = {**json.loads(sent(progress())), **change}
    with pytest.raises(ValidationError):
        decode(json.dumps(document).encode())


def test_examples_cover_every_message() -> None:
    """There is an example of every command, event and verdict, each decodable from its wire form."""
    assert set(COMMAND_EXAMPLES) == set(COMMANDS)
    assert set(EVENT_EXAMPLES) == set(EVENTS)
    assert set(VERDICT_EXAMPLES) == {"accepted", "duplicate", "rejected"}
    for name, envelope in COMMAND_EXAMPLES.items():
        assert command_name(decode_command(decode(encode(envelope)))) == name
    for type_name, envelope in EVENT_EXAMPLES.items():
        assert decode(encode(envelope)) == envelope
        assert decode_event(envelope).type_name() == type_name
    for name, verdict in VERDICT_EXAMPLES.items():
        assert VERDICT.validate_json(VERDICT.dump_json(verdict)) == verdict
        assert verdict.verdict == name


def test_unknown_command_is_named() -> None:
    """A command of a newer version is refused by its type."""
    envelope = COMMAND_EXAMPLES["start"].model_copy(update={"type": "milepost.command.start.v9"})
    with pytest.raises(ContractError, match=r"start\.v9"):
        decode_command(envelope)


def test_start_command_is_about_its_kind() -> None:
    """A start command names its kind as subject, there being no operation yet."""
    command = StartOperation(kind="backtest", spec={})
    assert envelop_command(command, command_id="c", source="/s", time=NOW).subject == "backtest"


def test_unknown_event_is_an_error() -> None:
    """An event that no version knows is never passed over."""
    envelope = EVENT_EXAMPLES["milepost.operation.claimed.v1"].model_copy(
        update={"type": "milepost.operation.claimed.v7"}
    )
    with pytest.raises(UnknownEventError, match=r"claimed\.v7"):
        decode_event(envelope)


def test_old_event_is_upcast_through_every_version() -> None:
    """An event of version -1 read today is an event of version 1, step by step."""
    claimed = EVENT_EXAMPLES["milepost.operation.claimed.v1"]
    old = {key: value for key, value in claimed.data.items() if key not in ("lease_seconds", "pid")}
    registry = UpcasterRegistry()
    registry.register("claimed.old", "claimed.newer", lambda data: {**data, "pid": 1})
    registry.register(
        "claimed.newer", "milepost.operation.claimed.v1", lambda data: {**data, "lease_seconds": data["pid"]}
    )
    envelope = claimed.model_copy(update={"type": "claimed.old", "data": old})
    event = decode_event(envelope, registry)
    assert isinstance(event, Claimed)
    assert (event.pid, event.lease_seconds) == (1, 1.0)


def test_current_event_is_left_alone() -> None:
    """Without an upcaster type and data pass unchanged."""
    assert UpcasterRegistry().upcast("a", {"b": 1}) == ("a", {"b": 1})


def test_upcasters_in_a_circle_are_an_error() -> None:
    """Upcasters that lead nowhere end in an error and not in a hang."""
    registry = UpcasterRegistry()
    registry.register("a", "b", dict)
    registry.register("b", "a", dict)
    with pytest.raises(UpcastLoopError):
        registry.upcast("a", {})


def test_second_upcaster_for_a_type_is_refused() -> None:
    """Which way an old event goes is decided once."""
    registry = UpcasterRegistry()
    registry.register("a", "b", dict)
    with pytest.raises(ValueError, match="already"):
        registry.register("a", "c", dict)


def test_every_problem_is_named_with_its_place() -> None:
    """All faults of a command are reported, each with the path of its field."""
    with pytest.raises(ValidationError) as refused:
        StartOperation.model_validate(
            {"kind": "a.b", "options": {"max_attempts": 0, "checkpoint": {"every_units": 0}}, "extra": 1}
        )
    problems = {problem.field: problem.message for problem in problems_of(refused.value, "command")}
    assert set(problems) == {
        "command.kind",
        "command.spec",
        "command.options.max_attempts",
        "command.options.checkpoint.every_units",
        "command.extra",
    }
    assert "greater than or equal to 1" in problems["command.options.max_attempts"]


def test_problem_of_a_validator_of_ours_reads_well() -> None:
    """The words that a validator raises arrive without pydantic's prefix."""
    from milepost_contracts.datasets import DatasetReference

    with pytest.raises(ValidationError) as refused:
        DatasetReference.model_validate({})
    (problem,) = problems_of(refused.value)
    assert (problem.field, problem.message) == ("", "give the dataset's name or its digest")


def test_terminal_events_are_run_events() -> None:
    """Only the owner ends an operation, so its last word is fenced like every other."""
    assert {event.SIDE for event in TERMINAL_EVENTS} == {"run"}
