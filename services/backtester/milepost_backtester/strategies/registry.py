"""Find strategies by their entry point and build them from a spec; every problem is named."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from milepost_contracts.failures import Problem
from milepost_contracts.model import JsonObject
from milepost_contracts.problems import problems_of
from milepost_contracts.specs.backtest import StrategySpec
from pydantic import BaseModel, ValidationError

ENTRY_POINT_GROUP = "milepost.strategies"


class StrategyClass(Protocol):
    """What a team registers under ``milepost.strategies``: a class that makes a ``Strategy`` from parameters.

    Or a ``PortfolioStrategy``: with ``on_bars`` it sees all symbols of a spec, with ``on_bar`` it is made once for
    each.
    """

    VERSION: str
    """Raised with every change that can change a decision; part of a checkpoint's fingerprint."""
    Parameters: type[BaseModel]
    """Unknown fields should be forbidden, so that a misspelt one is named."""

    def __call__(self, parameters: Any) -> Any:
        """Return the strategy in its first state."""
        ...


class StrategyProblemsError(ValueError):
    """The strategy cannot be made."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = problems


def parameter_schemas() -> dict[str, JsonObject]:
    """Return the JSON Schema of each installed strategy's parameters; one that cannot be imported is left out."""
    schemas: dict[str, JsonObject] = {}
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
        try:
            schemas[entry.name] = _load(entry).Parameters.model_json_schema()
        # A team's broken module must not take the other strategies away.
        except Exception:
            import structlog  # noqa: PLC0415 - a tenth of a second that most processes never need

            log = structlog.get_logger()
            log.warning("strategy left out: it cannot be loaded", strategy=entry.name, exc_info=True)
    return schemas


def find_strategy(name: str) -> StrategyClass:
    """Return the strategy class registered as ``name``.

    Raises:
        StrategyProblemsError: there is none, or it is no strategy; the message lists those installed.
    """
    registered = entry_points(group=ENTRY_POINT_GROUP)
    if name not in registered.names:
        known = ", ".join(sorted(registered.names)) or "none"
        raise _problem("strategy.name", f"no strategy {name!r} is installed; there are: {known}")
    return _load(registered[name])


def check_parameters(strategy: StrategyClass, parameters: JsonObject) -> BaseModel:
    """Return the validated parameters.

    Raises:
        StrategyProblemsError: with every fault.
    """
    try:
        return strategy.Parameters.model_validate(parameters)
    except ValidationError as error:
        raise StrategyProblemsError(problems_of(error, "strategy.parameters")) from error


def make_strategy(spec: StrategySpec) -> Any:
    """Return the strategy of a spec in its first state.

    Raises:
        StrategyProblemsError: unknown strategy or wrong parameters, every fault named.
    """
    strategy = find_strategy(spec.name)
    return strategy(check_parameters(strategy, spec.parameters))


def _load(entry: EntryPoint) -> StrategyClass:
    try:
        found = entry.load()
    except (ImportError, AttributeError) as error:
        raise _problem("strategy.name", f"{entry.name}: {entry.value} cannot be imported: {error}") from error
    parameters = getattr(found, "Parameters", None)
    if not (isinstance(parameters, type) and issubclass(parameters, BaseModel)):
        raise _problem("strategy.name", f"{entry.name}: {entry.value} has no pydantic model `Parameters`")
    absent = [word for word in ("VERSION", "state_dict", "load_state_dict") if not hasattr(found, word)]
    if not (hasattr(found, "on_bar") or hasattr(found, "on_bars")):
        absent.append("on_bar or on_bars")
    if absent:
        raise _problem("strategy.name", f"{entry.name}: {entry.value} lacks {', '.join(absent)}")
    return found


def _problem(field: str, message: str) -> StrategyProblemsError:
    return StrategyProblemsError((Problem(field=field, message=message),))
