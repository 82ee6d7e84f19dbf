"""A whole Milepost in one thread without a clock: clients, orchestrators, workers that die, sleep and come back.

Real are the domain, the command handler, reactor, registrar, alarms, sweeper, projector, orphan sweep, the claims
of workers and their fenced log; the servers are the doubles that share the conformance suites of the real ones.
Every call travels over a line whose delay comes from a seed, so the order of everything follows from the seed and
the steps, and from nothing else (``test_the_same_seed_and_steps_tell_the_same_story``).

To replay a failure: Hypothesis prints the shortest steps that it found and a ``@reproduce_failure`` line. ``make
test`` draws the same steps each time, so running the test again replays it; or call the printed steps one after
another on ``Stack(seed)``, as ``story`` does below. ``make faults`` searches anew and longer with each run and
keeps what it found in ``.hypothesis``, from where the next run begins.
"""

import os

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from milepost_contracts.messages import encode

from tests.simulation.stack import Stack

pytestmark = pytest.mark.unit
ROUNDS = int(os.environ.get("MILEPOST_FAULT_ROUNDS", "0"))
which = st.integers(0, 9)
pauses = st.sampled_from([0.0, 0.02, 0.1, 1.0, 5.0, 20.0])


class Milepost(RuleBasedStateMachine):
    """What people, machines and networks do to it, in any order."""

    @initialize(seed=st.integers(0, 2**32 - 1))
    def begin(self, seed: int) -> None:
        self.stack = Stack(seed)

    # --- clients ---------------------------------------------------------------------------------

    @rule(units=st.integers(1, 12), pause=pauses)
    def start(self, units: int, pause: float) -> None:
        self.stack.start(units, pause)

    @rule(which=which, how=st.sampled_from(["", "", "at a unit", "deadline", "force"]), pause=pauses)
    def cancel(self, which: int, how: str, pause: float) -> None:
        self.stack.cancel(which, how, pause)

    @rule(which=which, twice=st.booleans(), pause=pauses)
    def resume(self, which: int, twice: bool, pause: float) -> None:
        self.stack.resume(which, twice, pause)

    @rule(which=which, seconds=st.sampled_from([1.0, 2.0]), pause=pauses)
    def fork(self, which: int, seconds: float, pause: float) -> None:
        self.stack.fork(which, seconds, pause)

    @rule(which=which, pause=pauses)
    def retry(self, which: int, pause: float) -> None:
        self.stack.retry(which, pause)

    @rule(which=which, what=st.sampled_from(["checkpoint-now", "delete", "pin", "unpin"]), pause=pauses)
    def checkpoint(self, which: int, what: str, pause: float) -> None:
        self.stack.checkpoint(which, what, pause)

    @rule(keep=st.integers(0, 1), pause=pauses)
    def clean_up(self, keep: int, pause: float) -> None:
        self.stack.clean_up(keep, pause)

    @rule(held=st.booleans(), pause=pauses)
    def hold(self, held: bool, pause: float) -> None:
        self.stack.hold(held, pause)

    @rule(which=which, pause=pauses)
    def repeat(self, which: int, pause: float) -> None:
        self.stack.repeat(which, pause)

    # --- machines and networks -------------------------------------------------------------------

    @rule(which=which, what=st.sampled_from(["kill", "sleep", "replace"]), seconds=pauses)
    def orchestrator(self, which: int, what: str, seconds: float) -> None:
        self.stack.orchestrator(which, what, seconds)

    @rule(
        which=which, what=st.sampled_from(["kill", "sleep", "shut down", "fail", "replace"]), seconds=pauses
    )
    def worker(self, which: int, what: str, seconds: float) -> None:
        self.stack.worker(which, what, seconds)

    @rule(what=st.sampled_from(["away", "losing answers", "lost work"]), seconds=pauses)
    def bus(self, what: str, seconds: float) -> None:
        self.stack.bus(what, seconds)

    @rule()
    def projector_restarts(self) -> None:
        self.stack.restart_projector()

    @rule()
    def night(self) -> None:
        self.stack.night()

    @rule(seconds=st.sampled_from([0.05, 1.0, 10.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.stack.wait(seconds)

    # --- what must hold --------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "stack"):
            self.stack.look()

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.heal_and_end()


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_invariants_hold_whatever_happens() -> None:
    """I1 to I13 hold after every step, and once faults have healed everything has ended, exactly."""
    chosen = settings(
        max_examples=40 * ROUNDS if ROUNDS else 24,
        stateful_step_count=40 if ROUNDS else 25,
        deadline=None,
        derandomize=not ROUNDS,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    with structlog.testing.capture_logs():
        run_state_machine_as_test(Milepost, settings=chosen)


def story(seed: int) -> list[bytes]:
    """What is in the log after a few fixed steps."""
    stack = Stack(seed)
    stack.start(9, 5.0)
    stack.start(5, 0.0)
    stack.bus("losing answers", 20.0)
    stack.worker(0, "sleep", 20.0)
    stack.cancel(0, "", 20.0)
    stack.orchestrator(0, "kill", 5.0)
    stack.resume(0, True, 20.0)
    stack.heal_and_end()
    return [encode(each.envelope) for each in stack.servers.entries]


def test_the_same_seed_and_steps_tell_the_same_story() -> None:
    """Byte for byte; another seed tells another one."""
    with structlog.testing.capture_logs():
        first, again, other = story(7), story(7), story(8)
    assert len(first) > 20
    assert first == again
    assert first != other
