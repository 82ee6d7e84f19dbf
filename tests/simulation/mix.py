"""A seeded mix of what people, machines and networks do: long, and with faults where something goes on.

``python -m tests.simulation.mix 17`` replays seed 17 and says what it got to. Where hypothesis looks for short
stories, this one tells long ones: a few operations at a time, of a dozen units each, on workers that are lost.
"""

import sys
from collections import Counter
from collections.abc import Callable
from random import Random

import structlog

from tests.simulation.stack import Stack
from tests.simulation.tally import Seen

STEPS = 150
PAUSES = (0.0, 0.05, 0.3, 1.0, 3.0)
ABSENCES = (5.0, 20.0, 30.0, 40.0)
"""Seconds: shorter than a lease, longer, and longer than a worker waits for the bus."""
Deed = Callable[[Stack, Random], None]


def _start(stack: Stack, random: Random) -> None:
    stack.start(random.randint(6, 18), random.choice(PAUSES), attempts_max=random.choice((2, 2, 5)))


def _cancel(stack: Stack, random: Random) -> None:
    how = random.choice(("", "", "at a unit", "too late", "too late", "deadline", "force"))
    stack.cancel(random.randrange(8), how, random.choice(PAUSES))


def _resume(stack: Stack, random: Random) -> None:
    stack.resume(random.randrange(8), random.random() < 0.3, random.choice(PAUSES))


def _retry(stack: Stack, random: Random) -> None:
    for which in range(6):  # few have failed
        stack.retry(which, 0.0)


def _checkpoint(stack: Stack, random: Random) -> None:
    what = random.choice(("checkpoint-now", "delete", "delete", "pin", "unpin"))
    stack.checkpoint(-1 - random.randrange(8), what, random.choice(PAUSES))


def _lose_worker(stack: Stack, random: Random) -> None:
    what = random.choice(
        ("kill", "kill", "sleep", "sleep", "sleep", "cut off", "cut off", "shut down", "fail", "fail")
    )
    stack.worker(stack.busy_worker(random.randrange(3)), what, random.choice(ABSENCES))


def _cancel_of_lost(stack: Stack, random: Random) -> None:
    what = random.choice(("kill", "sleep", "cut off"))
    stack.worker(stack.busy_worker(random.randrange(3)), what, random.choice(ABSENCES))
    for which in range(3):
        stack.cancel(which, random.choice(("", "", "deadline", "force")), 0.0)


def _lose_orchestrator(stack: Stack, random: Random) -> None:
    stack.resume(random.randrange(8), False, random.uniform(0.1, 1.0))
    stack.orchestrator(random.randrange(3), random.choice(("kill", "sleep")), random.choice(ABSENCES))


def _break_bus(stack: Stack, random: Random) -> None:
    what = random.choice(("away", "losing answers", "lost work"))
    stack.bus(what, random.choice(ABSENCES))


def _hold(stack: Stack, random: Random) -> None:
    stack.hold(True, random.choice(PAUSES))
    stack.hold(False, 0.0)


MIX: dict[Deed, int] = {
    _start: 10,
    _cancel: 8,
    _resume: 11,
    lambda stack, random: stack.fork(random.randrange(6), random.choice((1.0, 2.0)), 0.5): 3,
    _retry: 2,
    _checkpoint: 8,
    lambda stack, random: stack.clean_up(random.randint(0, 1), random.choice(PAUSES)): 2,
    _hold: 1,
    lambda stack, random: stack.repeat(random.randrange(1000), random.choice(PAUSES)): 3,
    _lose_worker: 16,
    _cancel_of_lost: 4,
    lambda stack, random: stack.worker(0, "replace", 0.0): 18,
    _lose_orchestrator: 4,
    lambda stack, random: stack.orchestrator(0, "replace", 0.0): 6,
    _break_bus: 4,
    lambda stack, random: stack.restart_projector(): 1,
    lambda stack, random: stack.night(): 3,
    lambda stack, random: stack.wait(random.choice((2.0, 5.0, 15.0))): 18,
}
"""Everything that happens, and how often in about a hundred times."""


def play(seed: int) -> Counter[Seen]:
    """Do what the seed says and check everything; return what was reached."""
    stack, random = Stack(seed), Random(seed)
    try:
        try:
            for deed in random.choices(tuple(MIX), tuple(MIX.values()), k=STEPS):
                deed(stack, random)
                stack.look()
        finally:
            stack.heal_and_end()
    except BaseException as error:
        error.add_note(f"to replay it: python -m tests.simulation.mix {seed}")
        raise
    return stack.servers.seen


def _main(seeds: list[int]) -> None:
    seen: Counter[Seen] = Counter()
    with structlog.testing.capture_logs():
        for seed in seeds:
            seen += play(seed)
    for each in Seen:
        print(f"{seen[each]:6} {each}")


if __name__ == "__main__":
    _main([int(each) for each in sys.argv[1:]])
