"""I1 to I13 in long stories with many faults, and that these stories get to where the invariants matter.

To replay a failure: ``python -m tests.simulation.mix SEED`` with the seed that it names. ``make faults`` plays
many more seeds than ``make test``.
"""

import os
from collections import Counter

import pytest
import structlog

from tests.simulation.mix import play
from tests.simulation.tally import Seen

pytestmark = [pytest.mark.unit, pytest.mark.faults]
ROUNDS = int(os.environ.get("MILEPOST_FAULT_ROUNDS", "0"))
SEEDS_A_ROUND = 8


@pytest.mark.timeout(1200)
def test_invariants_hold_where_workers_are_lost_and_come_back() -> None:
    """After every step and once all has healed; over the seeds every situation of ``Seen`` has come up."""
    seen: Counter[Seen] = Counter()
    for seed in range(1, 1 + SEEDS_A_ROUND * max(1, ROUNDS)):
        with structlog.testing.capture_logs():
            seen += play(seed)
    missing = [each.value for each in Seen if not seen[each]]
    assert not missing, f"no seed came to: {missing}; it came to {dict(seen)}"
