"""The strategy that trades a trained model's predictions."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.portfolio_strategy import EachSymbol
from milepost_backtester.engine.terms import Terms
from milepost_backtester.strategies.inputs import StrategyInputs
from milepost_backtester.strategies.model import Model
from milepost_contracts.specs.model_strategy import ModelParameters
from milepost_models.bar_files import Bars as ModelBars
from milepost_models.forecast import Forecast
from milepost_models.inference import BLOCK_BARS, load_model
from milepost_runtime.errors import FingerprintMismatchError
from milepost_runtime.fingerprints import accepted_differences

from tests.backtester.backtest_doubles import ScriptedScores, digest_of, scripted_model, through_json
from tests.backtester.job_doubles import Workplace, cancel_after
from tests.backtester.portfolio_doubles import portfolio, some_rows
from tests.support.bars import make_bars
from tests.support.bridge import host_of
from tests.support.trained import TrainedModel, trained_model

pytestmark = pytest.mark.unit

BARS = make_bars(1_500, seed=5)
TERMS = Terms(commission_rate=0.001, slippage_random_rate=0.001, slippage_seed=3, leverage_max=4.0)
BARRIERS = {"name": "triple-barrier", "horizon": 4, "volatility": 8}
TRADED: dict[str, dict[str, Any]] = {
    "direction": {"enter_long": 0.52, "leave_long": 0.48, "allow_short": True, "enter_short": 0.53},
    "barriers": {"enter_long": 0.4, "leave_long": 0.3, "allow_short": True, "enter_short": 0.6},
    "return": {
        "enter_long": 1e-4,
        "leave_long": -1e-4,
        "allow_short": True,
        "sizing": "cash",
        "amount": 900.0,
    },
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainedModel]:
    directory = tmp_path_factory.mktemp("models")
    return {
        "direction": trained_model(directory / "direction"),
        "barriers": trained_model(directory / "barriers", label=BARRIERS, model={"family": "gru"}),
        "return": trained_model(directory / "return", label="return", scaling="per-symbol"),
    }


def strategy_of(model: TrainedModel, bars: Bars = BARS, *, symbol: str = "walk", **parameters: Any) -> Model:
    checked = ModelParameters.model_validate({"model": {"digest": model.digest}, **parameters})
    return Model.with_inputs(checked, StrategyInputs(bars, symbol, model.files))


def engine_of(strategy: Model, bars: Bars = BARS, tier: Any = "auto") -> BacktestingEngine:
    return BacktestingEngine(bars, strategy, initial_cash=10_000.0, terms=TERMS, tier=tier)


def undisturbed(strategy: Model, bars: Bars = BARS, tier: Any = "auto") -> BacktestingEngine:
    engine = engine_of(strategy, bars, tier)
    engine.advance()
    return engine


@pytest.mark.parametrize("name", TRADED)
def test_compiled_and_python_decide_the_same(name: str, models: dict[str, TrainedModel]) -> None:
    """Both tiers leave the same fills and equity to the last bit, whatever the model predicts."""
    compiled, python = (
        undisturbed(strategy_of(models[name], **TRADED[name]), tier=tier) for tier in ("compiled", "python")
    )
    assert engine_of(strategy_of(models[name], **TRADED[name])).tier == "compiled"
    assert digest_of(compiled) == digest_of(python)
    assert len(compiled.fills) > 20
    assert {fill.quantity > 0 for fill in compiled.fills} == {True, False}


CUTS = (1, BLOCK_BARS - 1, BLOCK_BARS, BLOCK_BARS + 1, 1_499)


@pytest.mark.parametrize("tier", ["compiled", "python"])
def test_cut_anywhere_and_gone_on_elsewhere_ends_the_same(tier: str, models: dict[str, TrainedModel]) -> None:
    """At the edges of blocks, at the first prediction, around every kind of change of side, and at random bars."""
    fields = TRADED["direction"]
    whole = undisturbed(strategy_of(models["direction"], **fields), tier=tier)
    first = load_model(models["direction"].directory).first_row
    changes = [fill.bar for fill in whole.fills]
    picked = [bar + offset for bar in changes[::9] for offset in (-1, 0)]
    cuts = sorted(
        {*CUTS, first, first + 1, *picked, *np.random.default_rng(2).integers(1, 1_499, 8).tolist()}
    )
    engine = engine_of(strategy_of(models["direction"], **fields), tier=tier)
    for cut in cuts:
        engine.advance(cut)
        state, logs = through_json(engine.state_dict()), engine.logs.copy()
        engine = engine_of(strategy_of(models["direction"], **fields), tier=tier)
        engine.load_state_dict(state, logs)
    engine.advance()
    assert digest_of(engine) == digest_of(whole)


@pytest.mark.parametrize("name", ["direction", "barriers"])
def test_a_decision_never_looks_ahead(name: str, models: dict[str, TrainedModel]) -> None:
    """With other bars after bar t, or none, everything up to t is the same bit for bit."""
    whole = undisturbed(strategy_of(models[name], **TRADED[name]))
    other = make_bars(1_500, seed=6)
    columns = ("open", "high", "low", "close", "volume")
    for edge in (60, 300, BLOCK_BARS * 2, 1_111):
        spliced = Bars(
            BARS.timestamp,
            *(np.concatenate([getattr(BARS, n)[:edge], getattr(other, n)[edge:] * 3]) for n in columns),
        )
        short = Bars(BARS.timestamp[:edge], *(getattr(BARS, n)[:edge].copy() for n in columns))
        for bars in (spliced, short):
            engine = engine_of(strategy_of(models[name], bars, **TRADED[name]), bars)
            engine.advance(edge)
            assert engine.equity.tobytes() == whole.equity[:edge].tobytes()
            assert engine.fills == [fill for fill in whole.fills if fill.bar < edge]


def test_blocks_are_the_predictions_and_only_those_needed_are_computed(
    models: dict[str, TrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block has the predictor's own bits; a run that goes on at a bar computes no earlier block."""
    asked: list[int] = []
    real = Forecast.block

    def block(self: Forecast, number: int) -> Any:
        asked.append(number)
        return real(self, number)

    predictor = load_model(models["direction"].directory)
    bars = ModelBars(BARS.timestamp, BARS.open, BARS.high, BARS.low, BARS.close, BARS.volume)
    expected = predictor.predict(bars)
    forecast = Forecast(predictor, bars, symbol="walk")
    found = np.concatenate([forecast.block(number) for number in range(6)])[:1_500]
    assert np.isnan(found[: predictor.first_row]).all()
    assert found[predictor.first_row :].tobytes() == expected.probabilities.tobytes()

    monkeypatch.setattr(Forecast, "block", block)
    engine = engine_of(strategy_of(models["direction"]))
    assert asked == []
    engine.advance(BLOCK_BARS * 2)
    assert asked == [0, 1]
    later = engine_of(strategy_of(models["direction"]))
    later.load_state_dict(engine.state_dict(), engine.logs.copy())
    asked.clear()
    later.advance()
    assert asked == [2, 3, 4, 5]


def test_several_symbols_have_their_own_predictions(models: dict[str, TrainedModel]) -> None:
    """Two symbols with holes on one account: both tiers agree, each sees its own bars' predictions."""
    places = np.arange(1_500)
    parts = {"a": some_rows(BARS, places % 3 > 0), "b": some_rows(make_bars(1_500, seed=9), places % 5 > 0)}
    bars = portfolio(list(parts.values()))

    def run(tier: Any) -> BacktestingEngine:
        rules = {
            name: strategy_of(models["direction"], own, **TRADED["direction"]) for name, own in parts.items()
        }
        engine = BacktestingEngine(bars, EachSymbol(rules), initial_cash=50_000.0, terms=TERMS, tier=tier)
        engine.advance()
        return engine

    compiled, python = run("compiled"), run("python")
    assert digest_of(compiled) == digest_of(python)
    assert len(compiled.fills) > 40


def test_too_few_bars_trade_nothing(models: dict[str, TrainedModel]) -> None:
    """Fewer bars than the model looks at: no prediction, no order, no error."""
    short = make_bars(20)
    assert undisturbed(strategy_of(models["direction"], short), short).fills == []


SCORE = st.one_of(st.just(float("nan")), st.integers(0, 20).map(lambda tenths: tenths / 20))
THRESHOLDS: dict[str, Any] = {
    "enter_long": 0.6,
    "leave_long": 0.45,
    "enter_short": 0.65,
    "leave_short": 0.5,
    "allow_short": True,
}


@given(scores=st.lists(SCORE, min_size=1, max_size=40), short=st.booleans())
@settings(max_examples=150, deadline=None)
def test_sides_follow_the_thresholds(scores: list[float], short: bool) -> None:
    """Both tiers hold the side that the written rule gives: entered above, left below, nothing before a score."""
    down = [1.0 - score for score in scores]
    fields = THRESHOLDS if short else {"enter_long": 0.6, "leave_long": 0.45}
    expected, side = [], 0
    for up, low in zip(scores, down, strict=True):
        if up == up:
            if (side == 1 and up < 0.45) or (side == -1 and low < 0.5):
                side = 0
            if side != 1 and up > 0.6:
                side = 1
            elif short and side != -1 and low > 0.65:
                side = -1
        expected.append(side * 7.0)
    bars = make_bars(len(scores) + 1)
    script = ScriptedScores([*scores, scores[-1]], [*down, down[-1]])
    for tier in ("compiled", "python"):
        engine = undisturbed(scripted_model(script, amount=7.0, **fields), bars, tier)
        assert engine.logs.position.tolist()[1:] == expected


def test_sizes_are_those_of_the_bar_at_which_the_side_is_entered() -> None:
    """Money buys what it buys at the close; a share of the equity is that of the account; both are then kept."""
    bars = make_bars(12)
    script = ScriptedScores([0.9] * 5 + [0.1] * 3 + [0.9] * 4, [0.1] * 12)
    cash = undisturbed(scripted_model(script, sizing="cash", amount=500.0), bars, "python")
    assert [fill.quantity for fill in cash.fills] == [
        500.0 / bars.close[0],
        -500.0 / bars.close[0],
        500.0 / bars.close[8],
    ]
    equity = undisturbed(scripted_model(script, sizing="equity", amount=0.5), bars)
    assert equity.tier == "python"
    assert equity.fills[2].quantity == 0.5 * equity.equity[8] / bars.close[8]
    with pytest.raises(ValueError, match="offers no 'compiled'"):
        engine_of(scripted_model(script, sizing="equity", amount=0.5), bars, "compiled")


def test_what_cannot_be_used_is_refused_by_name(models: dict[str, TrainedModel], tmp_path: Path) -> None:
    """A missing card or weights, thresholds that cannot be, a symbol without scaling, weights of another model."""
    direction, other = models["direction"], models["return"]

    def made(files: dict[str, Path], digest: str = direction.digest, **fields: Any) -> Model:
        parameters = ModelParameters.model_validate({"model": {"digest": digest}, **fields})
        return Model.with_inputs(parameters, StrategyInputs(BARS, "gold", files))

    with pytest.raises(
        ValueError, match=r"parameters\.model: the model\.json sha256:\w+ is not among the inputs"
    ):
        made({})
    with pytest.raises(ValueError, match=r"the weights 'sha256:.*' are not among the inputs"):
        made({direction.digest: direction.card})
    with pytest.raises(ValueError, match=r"give the digest"):
        Model.with_inputs(
            ModelParameters.model_validate({"model": {"operation": "op-1"}}), StrategyInputs(BARS, "gold", {})
        )
    with pytest.raises(ValueError, match=r"enter_long: 1\.5 is compared with a probability"):
        made(direction.files, enter_long=1.5)
    with pytest.raises(ValueError, match=r"no scaling was fitted for 'gold'; there is one for: walk"):
        made(other.files, other.digest)
    weights = next(digest for digest in direction.files if digest != direction.digest)
    with pytest.raises(ValueError, match=f"the card is of the weights {weights}, the file is sha256:"):
        made({direction.digest: direction.card, weights: other.weights})
    (tmp_path / "model.json").write_text(json.dumps({"task": "digits"}))
    with pytest.raises(ValueError, match="the model is of the task digits, not of bars 1"):
        made({direction.digest: tmp_path / "model.json"})


def test_a_worker_without_torch_says_what_to_install(
    models: dict[str, TrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names what is missing and the fix."""
    monkeypatch.setitem(sys.modules, "milepost_backtester.strategies.model_scores", None)
    with pytest.raises(ValueError, match=r"install milepost-backtester\[models\]"):
        strategy_of(models["direction"])


class ModelWorkplace(Workplace):
    """Jobs whose inputs hold a model."""

    def __init__(self, directory: Path, model: TrainedModel) -> None:
        super().__init__(directory, bars=900)
        self.model = model

    def inputs(self) -> dict[str, Path]:
        return {self.digest: self.data, **self.model.files}

    def model_job(self, **fields: Any) -> Any:
        parameters = {"model": {"digest": self.model.digest}, **TRADED["direction"], **fields}
        return self.job("model", parameters)


@pytest.fixture
def place(tmp_path: Path, models: dict[str, TrainedModel]) -> ModelWorkplace:
    return ModelWorkplace(tmp_path / "place", models["direction"])


def test_a_job_cancelled_three_times_leaves_the_same_files(place: ModelWorkplace) -> None:
    """Checkpoint files, resume by another job, result files: equal by digest to the undisturbed run's."""
    whole = place.model_job()
    assert whole.run(host_of(place.sink(), 900)) is True
    checkpoint = None
    for unit in (40, 257, 700, None):
        job, sink = place.model_job(), place.sink()
        if checkpoint is not None:
            job.restore_from_checkpoint(checkpoint)
        options = {} if unit is None else {"token": cancel_after(unit)}
        assert job.run(host_of(sink, 900, **options)) is (unit is None)
        place.share(sink)
        checkpoint = sink.checkpoints[-1] if unit is not None else None
    assert place.digests(job) == place.digests(whole)


def test_another_model_or_another_processor_is_refused_by_name(
    place: ModelWorkplace, models: dict[str, TrainedModel]
) -> None:
    """The fingerprint names the model's files, torch, the instruction sets and the threads."""
    saved = place.model_job().fingerprint
    assert saved["model"] == models["direction"].digest
    assert {"environment.torch", "environment.ta_lib", "environment.cpu_instructions"} <= saved.keys()
    place.model = models["barriers"]
    present = place.model_job(threads=2).fingerprint
    with pytest.raises(FingerprintMismatchError) as refused:
        accepted_differences(saved, present, accept_environment=False)
    for words in (f"model was {saved['model']!r}", "weights was", "threads was '1' and is '2'"):
        assert words in str(refused.value)
    elsewhere = {**saved, "environment.cpu_instructions": "x86_64 sse4"}
    with pytest.raises(FingerprintMismatchError, match="cpu_instructions was"):
        accepted_differences(saved, elsewhere, accept_environment=False)


def test_a_process_without_a_model_loads_no_torch(tmp_path: Path) -> None:
    """Warm-up, description and a whole backtest by a rule leave torch and the models out of the process."""
    place = Workplace(tmp_path, bars=300)
    script = (
        "import sys; from pathlib import Path\n"
        "from milepost_backtester.worker import BacktestKind\n"
        "from milepost_runtime.worker.kind import JobContext\n"
        "kind = BacktestKind(); kind.warm_up(); assert 'model' in kind.describe().parts['strategy']\n"
        f"data, digest, path = {str(place.data)!r}, {place.digest!r}, Path({str(tmp_path)!r})\n"
        "spec = {'data': {'digest': digest}}\n"
        "job = kind.create_job(JobContext('op-1', spec, {digest: Path(data)}, path))\n"
        "loaded = [name for name in sys.modules if name.split('.')[0] in ('torch', 'milepost_models', 'talib')]\n"
        "assert job.total_units == 300 and not loaded, loaded"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
