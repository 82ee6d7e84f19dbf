"""The training tasks that are installed, by name."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from milepost_trainer.task import ENTRY_POINT_GROUP, TrainingTask


def load_tasks() -> Mapping[str, TrainingTask[Any]]:
    """Return every registered task.

    Raises:
        ValueError: one cannot be imported, calls itself otherwise or is registered twice; each is named.
    """
    tasks: dict[str, TrainingTask[Any]] = {}
    problems: list[str] = []
    first: dict[str, EntryPoint] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.value == first.setdefault(point.name, point).value:
            try:
                tasks[point.name] = _loaded(point)
            except ValueError as error:
                problems.append(str(error))
        else:
            values = f"{first[point.name].value} and {point.value}"
            problems.append(f"the task {point.name} is registered twice: {values}")
    if problems:
        raise ValueError("; ".join(problems))
    return tasks


def _loaded(point: EntryPoint) -> TrainingTask[Any]:
    try:
        task: TrainingTask[Any] = point.load()()
    # A team's module may raise anything on import; which one it was must be known.
    except Exception as error:
        words = f"the task {point.name} ({point.value}) cannot be loaded"
        raise ValueError(f"{words}: {type(error).__name__}: {error}") from error
    lacking = [name for name in ("name", "version", "parameters", "build") if not hasattr(task, name)]
    if lacking:
        raise ValueError(f"the task {point.name} ({point.value}) has no {', '.join(lacking)}")
    if task.name != point.name:
        raise ValueError(f"the task {point.name} ({point.value}) calls itself {task.name}")
    return task
