"""Trades what a trained model predicts."""

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from milepost_contracts.specs.model_strategy import ModelParameters

from milepost_backtester.strategies.inputs import StrategyInputs

if TYPE_CHECKING:
    from milepost_backtester.engine.bars import Bar, Floats, Integers
    from milepost_backtester.engine.broker import Broker
    from milepost_backtester.engine.layouts import Prices
    from milepost_backtester.engine.strategy import CompiledRule
    from milepost_backtester.strategies.model_scores import ModelScores


INSTALL = "install milepost-backtester[models] where it runs"


class Model:
    """Long while the model's score for rising prices is above a threshold, short likewise if allowed.

    A side is entered above one threshold and left below another, so that a score between them changes nothing;
    the other side may be entered at once. A position's size is decided when its side is entered. Before the
    model's first prediction there are no orders.
    """

    VERSION = "1"
    """Raised with every change that can change a decision."""
    Parameters = ModelParameters

    def __init__(
        self,
        parameters: ModelParameters,
        scores: "ModelScores",
        *,
        digests: Mapping[str, str],
        environment: Mapping[str, str],
    ) -> None:
        """``parameters`` have all thresholds; ``digests`` name the model, ``environment`` where it computes."""
        self._parameters = parameters
        self._scores = scores
        self._enter_long, self._leave_long = _numbers(parameters.enter_long, parameters.leave_long)
        self._enter_short, self._leave_short = _numbers(parameters.enter_short, parameters.leave_short)
        # Not the bar's own number: among several symbols that is a place on their common timeline.
        self._bar = 0
        self._side = 0
        self._wanted = 0.0
        self._block: list[tuple[float, float]] = []
        self._block_number = -1
        self.fingerprint: Mapping[str, str] = {**digests, "threads": str(parameters.threads)}
        self.environment: Mapping[str, str] = environment

    @classmethod
    def with_inputs(cls, parameters: ModelParameters, inputs: StrategyInputs) -> "Model":
        """Return the strategy over the model that the parameters name.

        Raises:
            ValueError: the model is missing or unusable, or cannot be traded so; every problem is named.
        """
        try:
            from milepost_backtester.strategies.model_scores import load_scores  # noqa: PLC0415 - loads torch
        except ModuleNotFoundError as error:
            raise ValueError(f"this worker runs no models ({error}); {INSTALL}") from error

        loaded = load_scores(parameters, inputs)
        # A share of the equity depends on the account, which a compiled rule does not see.
        kind = Model if parameters.sizing == "equity" else CompiledModel
        return kind(loaded.parameters, loaded.scores, digests=loaded.digests, environment=loaded.environment)

    def on_bar(self, bar: "Bar", broker: "Broker") -> None:
        """Order what is missing of the position that the model asks for."""
        up, down = self._scores_at(self._bar)
        self._bar += 1
        if up != up:  # not a number: the model has not seen enough bars
            return
        before = side = self._side
        if (side > 0 and up < self._leave_long) or (side < 0 and down < self._leave_short):
            side = 0
        if side <= 0 and up > self._enter_long:
            side = 1
        elif side >= 0 and down > self._enter_short:
            side = -1
        if side != before:
            self._side = side
            self._wanted = side * self._size(bar, broker)
        if self._wanted != broker.position:
            broker.target(self._wanted)

    def state_dict(self) -> dict[str, Any]:
        """Return the bar whose score is next, and side and wanted position, which depend on earlier scores."""
        return {"bar": self._bar, "side": self._side, "wanted": self._wanted}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        self._bar, self._side, self._wanted = state["bar"], state["side"], state["wanted"]

    def _size(self, bar: "Bar", broker: "Broker") -> float:
        amount = self._parameters.amount
        match self._parameters.sizing:
            case "units":
                return amount
            case "cash":
                return amount / bar.close
            case "equity":
                # Nothing can be bought with what is lost.
                return max(0.0, broker.units_for_fraction(amount))

    def _scores_at(self, index: int) -> tuple[float, float]:
        number, place = divmod(index, self._scores.block_bars)
        if number != self._block_number:
            up, down = self._scores.block(number)
            self._block = list(zip(up.tolist(), down.tolist(), strict=True))
            self._block_number = number
        return self._block[place]


class CompiledModel(Model):
    """The same by compiled code, for positions that do not depend on the account."""

    def compiled_rule(self) -> "CompiledRule":
        """Return the same rule, compiled."""
        import numpy as np  # noqa: PLC0415 - hosts load no arrays

        from milepost_backtester.engine.strategy import CompiledRule  # noqa: PLC0415
        from milepost_backtester.strategies.model_signals import hold_by_scores  # noqa: PLC0415

        scores = self._scores

        def signals(
            start: int, stop: int, timestamp: "Integers", open_price: "Prices", high: "Prices", low: "Prices",
            close: "Prices", volume: "Prices", parameters: "Floats", memory: "Floats", wanted: "Floats",
        ) -> None:  # fmt: skip
            up, down = scores.between(start, stop)
            hold_by_scores(up, down, close[0, start:stop], parameters, memory, wanted[0])

        thresholds = (self._enter_long, self._leave_long, self._enter_short, self._leave_short)
        sizing = (self._parameters.amount, float(self._parameters.sizing == "cash"))
        return CompiledRule(signals, np.array((*thresholds, *sizing)), np.zeros(2))


def _numbers(enter: float | None, leave: float | None) -> tuple[float, float]:
    """A side without thresholds is never entered."""
    return (inf if enter is None else enter), (inf if leave is None else leave)
