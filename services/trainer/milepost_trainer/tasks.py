"""The training tasks that are installed, by name."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from milepost_trainer.task import ENTRY_POINT_GROUP, TrainingTask


def load_tasks() -> Mapping[str, TrainingTask[Any]]:
    """Return every registered task.

    Raises:
        ValueError: two are registered under one name, or one calls itself otherwise; each is named.
    """
    tasks: dict[str, TrainingTask[Any]] = {}
    problems: list[str] = []
    for point in entry_points(group=ENTRY_POINT_GROUP):
        task: TrainingTask[Any] = point.load()()
        if task.name != point.name:
            problems.append(f"the task {point.name} of {point.value} calls itself {task.name}")
        if point.name in tasks:
            problems.append(f"the task {point.name} is registered twice, also by {point.value}")
        tasks[point.name] = task
    if problems:
        raise ValueError("; ".join(problems))
    return tasks
