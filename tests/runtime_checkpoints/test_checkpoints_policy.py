"""When a periodic checkpoint is due."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_runtime.checkpoints.policy import CheckpointPolicy, PolicyContext

pytestmark = pytest.mark.unit


def context(
    unit: int,
    *,
    saved_unit: int = 0,
    now: float = 1000.0,
    started: float = 0.0,
    saved_at: float | None = None,
) -> PolicyContext:
    return PolicyContext(
        unit=unit,
        total_units=100,
        last_saved_unit=saved_unit,
        now_seconds=now,
        started_seconds=started,
        last_saved_seconds=saved_at,
    )


def due(spec: CheckpointPolicySpec, where: PolicyContext) -> bool:
    return CheckpointPolicy(spec).should_checkpoint(where)


NEVER = CheckpointPolicySpec()
TENS = CheckpointPolicySpec(every_units=10)
MINUTES = CheckpointPolicySpec(every_seconds=60)
BOTH = CheckpointPolicySpec(every_units=10, every_seconds=60)


@pytest.mark.parametrize(
    ("spec", "where", "expected"),
    [
        (NEVER, context(10), False),
        (NEVER, context(100, now=1e9), False),
        (TENS, context(0), False),
        (TENS, context(9), False),
        (TENS, context(10), True),
        (TENS, context(10, saved_unit=9, saved_at=900.0), True),
        (TENS, context(10, saved_unit=10, saved_at=900.0), False),
        (TENS, context(11, saved_unit=10, saved_at=900.0), False),
        (TENS, context(20, saved_unit=10, saved_at=900.0), True),
        (TENS, context(13, saved_unit=7), True),
        (TENS, context(47, saved_unit=12), True),
        (TENS, context(37, saved_unit=37), False),
        (TENS, context(40, saved_unit=37), True),
        (TENS, context(20, saved_unit=10, saved_at=999.5), False),
        (TENS, context(21, saved_unit=10, saved_at=999.0), True),
        (MINUTES, context(1, now=59.9), False),
        (MINUTES, context(1, now=60.0), True),
        (MINUTES, context(0, now=60.0), False),
        (MINUTES, context(5, saved_unit=4, now=100.0, saved_at=41.0), False),
        (MINUTES, context(5, saved_unit=4, now=101.0, saved_at=41.0), True),
        (MINUTES, context(4, saved_unit=4, now=500.0, saved_at=41.0), False),
        (BOTH, context(9, now=10.0), False),
        (BOTH, context(10, now=10.0), True),
        (BOTH, context(9, now=60.0), True),
        (BOTH, context(14, saved_unit=10, now=69.0, saved_at=10.0), False),
        (BOTH, context(14, saved_unit=10, now=70.0, saved_at=10.0), True),
        (CheckpointPolicySpec(every_units=1, min_seconds=0), context(2, saved_unit=1, saved_at=1000.0), True),
        (
            CheckpointPolicySpec(every_seconds=0.1, min_seconds=5),
            context(2, saved_unit=1, saved_at=996.0),
            False,
        ),
        (
            CheckpointPolicySpec(every_seconds=0.1, min_seconds=5),
            context(2, saved_unit=1, saved_at=995.0),
            True,
        ),
    ],
)
def test_decisions(spec, where, expected):
    """Each context has one answer."""
    assert due(spec, where) is expected


def test_first_checkpoint_knows_no_floor():
    """The floor is between checkpoints: a run of 15 000 quick bars has the one at bar 10 000."""
    spec = CheckpointPolicySpec(every_units=10_000, min_seconds=3600)
    assert due(spec, context(10_000, now=0.01))


@pytest.mark.parametrize(
    ("spec", "unit", "expected"),
    [(NEVER, 3, None), (MINUTES, 3, None), (TENS, 0, 10), (TENS, 9, 10), (TENS, 10, 20), (TENS, 37, 40)],
)
def test_next_unit_due(spec, unit, expected):
    """The engine can stop exactly at the next multiple."""
    assert CheckpointPolicy(spec).next_unit_due(unit) == expected


SPECS = st.builds(
    CheckpointPolicySpec,
    every_units=st.none() | st.integers(1, 50),
    every_seconds=st.none() | st.floats(0.1, 100),
    min_seconds=st.floats(0, 10),
)
STEPS = st.lists(st.tuples(st.integers(1, 30), st.floats(0, 20)), min_size=1, max_size=60)


@given(SPECS, STEPS)
def test_runs_keep_the_floor_and_miss_nothing(spec, steps):
    """Over a whole run: saves keep their distance, and none is owed for longer than floor or interval allow."""
    policy = CheckpointPolicy(spec)
    unit, now, saved_unit, saved_at = 0, 0.0, 0, None
    for units, seconds in steps:
        unit, now = unit + units, now + seconds
        since = now if saved_at is None else now - saved_at
        floor_over = saved_at is None or since >= spec.min_seconds
        crossed = spec.every_units is not None and any(
            number % spec.every_units == 0 for number in range(saved_unit + 1, unit + 1)
        )
        elapsed = spec.every_seconds is not None and since >= spec.every_seconds
        where = PolicyContext(unit, 10_000, saved_unit, now, 0.0, saved_at)
        assert policy.should_checkpoint(where) is (floor_over and (crossed or elapsed))
        if policy.should_checkpoint(where):
            saved_unit, saved_at = unit, now


@given(SPECS, st.integers(0, 10_000))
def test_next_unit_due_is_the_first_multiple_after(spec, unit):
    """No multiple lies between a unit and the next one due."""
    following = CheckpointPolicy(spec).next_unit_due(unit)
    if spec.every_units is None:
        assert following is None
    else:
        assert following is not None
        assert unit < following <= unit + spec.every_units
        assert following % spec.every_units == 0
