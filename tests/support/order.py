"""In which order the tests run: what takes long begins early, so that no long test is left alone at the end.

pytest-xdist's ``worksteal`` gives each of its processes one contiguous part of the list, all of the same number
of tests, and lets whoever is done take the last half of the longest rest. So the list is made of as many parts:
each begins with its share of the heavy modules, dealt by their seconds, and ends with light ones, which are worth
taking.
"""

import os
from collections.abc import Sequence

import pytest

HEAVY_SECONDS = {
    "tests/e2e": 110,
    "tests/faults/test_faults_worker.py": 110,
    "tests/faults/test_faults_training.py": 40,
    "tests/faults/test_faults_backtest.py": 60,
    "tests/infra/test_infra_supervisor.py": 50,
    "tests/faults/test_faults_outages.py": 45,
    "tests/orchestrator/test_orchestrator_process.py": 40,
    "tests/dashboard/test_dashboard_every_page.py": 35,
    "tests/infra/test_infra_stack.py": 30,
    "tests/faults/test_faults_backtest_cuts.py": 30,
    "tests/faults/test_faults_model.py": 30,
    "tests/orchestrator/test_orchestrator_entrances.py": 20,
    "tests/faults/test_faults_cancel.py": 20,
    "tests/dashboard/test_dashboard_operation.py": 20,
    "tests/orchestrator/test_orchestrator_archive.py": 20,
}
"""What takes long, in seconds of two cores (2026-11), to the nearest ten. A directory stays together: its tests
share a stack of their own, which a second process would start again."""


def dealt(items: Sequence[pytest.Item], parts: int) -> list[pytest.Item]:
    """Return the tests in ``parts`` parts of equal number; within a module they keep their order."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(_group_of(item), []).append(item)
    heavy = sorted(HEAVY_SECONDS.keys() & groups.keys(), key=lambda name: (-HEAVY_SECONDS[name], name))
    seconds = [0] * parts
    dealt_out: list[list[pytest.Item]] = [[] for _ in range(parts)]
    for name in heavy:
        least = seconds.index(min(seconds))
        seconds[least] += HEAVY_SECONDS[name]
        dealt_out[least] += groups.pop(name)
    light = [item for group in groups.values() for item in group]
    for number, part in enumerate(dealt_out):
        room = len(items) * (number + 1) // parts - len(items) * number // parts - len(part)
        part += light[: max(room, 0)]
        del light[: max(room, 0)]
    return [item for part in dealt_out for item in part] + light


def processes() -> int:
    """Return how many processes run the tests."""
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def _group_of(item: pytest.Item) -> str:
    module = item.nodeid.partition("::")[0]
    return next((name for name in HEAVY_SECONDS if module.startswith(name)), module)
