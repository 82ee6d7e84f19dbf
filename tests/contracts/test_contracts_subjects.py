"""The subject grammar: what is built can be parsed, and nothing that is not a token gets in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_contracts.errors import SubjectError
from milepost_contracts.events import EVENTS, Claimed, Requested, Side
from milepost_contracts.ids import (
    TOKEN_PATTERN,
    checkpoint_id_of,
    event_id_of,
    operation_id_of,
)
from milepost_contracts.subjects import EventSubject, Subjects

pytestmark = pytest.mark.unit

SUBJECTS = Subjects("acme")
TOKENS = st.from_regex(TOKEN_PATTERN, fullmatch=True).filter(lambda token: not token.endswith("\n"))
NO_TOKENS = ["", ".", "a.b", "a b", "*", ">", "a>", "ü", "a\n", "-a", "a" * 65, "a/b"]


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (SUBJECTS.request("start"), "acme.request.start"),
        (SUBJECTS.command("cancel"), "acme.command.cancel"),
        (SUBJECTS.verdict("cmd-1"), "acme.verdict.cmd-1"),
        (SUBJECTS.event("op-1", Claimed), "acme.event.op-1.run.claimed"),
        (SUBJECTS.event("op-1", Requested), "acme.event.op-1.control.requested"),
        (SUBJECTS.events(), "acme.event.*.>"),
        (SUBJECTS.events("op-1"), "acme.event.op-1.>"),
        (SUBJECTS.events("op-1", Side.RUN), "acme.event.op-1.run.>"),
        (SUBJECTS.events(side=Side.CONTROL), "acme.event.*.control.>"),
        (SUBJECTS.events_of_type(Claimed), "acme.event.*.run.claimed"),
        (SUBJECTS.work("backtest", "default", "op-1"), "acme.work.backtest.default.op-1"),
        (SUBJECTS.works(), "acme.work.>"),
        (SUBJECTS.works("backtest"), "acme.work.backtest.>"),
        (SUBJECTS.signal("op-1"), "acme.signal.op-1"),
    ],
)
def test_grammar(built: str, expected: str) -> None:
    """Every subject looks as the documents say."""
    assert built == expected


@given(prefix=TOKENS, operation_id=TOKENS, event=st.sampled_from(list(EVENTS.values())))
def test_event_subject_is_parsed_back(prefix: str, operation_id: str, event: type) -> None:
    """The parts of any event's subject come back as they were put in."""
    subjects = Subjects(prefix)
    parsed = subjects.parse_event(subjects.event(operation_id, event))
    assert parsed == EventSubject(operation_id, event.SIDE, event.NAME)


@pytest.mark.parametrize("value", NO_TOKENS)
def test_what_is_no_token_is_refused(value: str) -> None:
    """A value that would change the meaning of a subject never gets into one."""
    for build in (SUBJECTS.request, SUBJECTS.verdict, SUBJECTS.signal, SUBJECTS.works, Subjects):
        with pytest.raises(SubjectError):
            build(value)
    with pytest.raises(SubjectError):
        SUBJECTS.event(value, Claimed)
    with pytest.raises(SubjectError):
        SUBJECTS.work("backtest", value, "op-1")


@pytest.mark.parametrize(
    "subject",
    [
        "other.event.op-1.run.claimed",
        "acme.verdict.op-1.run.claimed",
        "acme.event.op-1.nowhere.claimed",
        "acme.event.op-1.run",
        "acme.event.op-1.run.claimed.more",
    ],
)
def test_foreign_subject_is_refused(subject: str) -> None:
    """A subject of another tenant, or of no event, is not read as an event."""
    with pytest.raises(SubjectError, match="grammar"):
        SUBJECTS.parse_event(subject)


def test_ids_are_tokens_and_follow_from_their_parts() -> None:
    """Derived ids fit into a subject, repeat for equal parts and differ for others."""
    ids = [
        operation_id_of("cmd-1"),
        operation_id_of("cmd-2"),
        checkpoint_id_of("op-1", 1, 2),
        checkpoint_id_of("op-1", 12, 0),
        event_id_of("op-1", "claimed", 1),
        event_id_of("op-1", "claimed1"),
    ]
    assert len(set(ids)) == len(ids)
    assert operation_id_of("cmd-1") == ids[0]
    for value in ids:
        assert SUBJECTS.signal(value).endswith(value)
