"""What a sweep saves is necessary and sufficient (A2): leave one part out and it ends otherwise, or not at all."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from milepost_backtester.engine.errors import StateError
from milepost_backtester.engine.records import Logs
from milepost_backtester.sweep.engine import STATE_FIELDS, SweepEngine
from milepost_backtester.sweep.figures import NAMES, FigureTable
from milepost_backtester.sweep.forward import ForwardLog
from milepost_backtester.sweep.plan import Fold, Plan, folds_of
from milepost_backtester.sweep.segments import SCHEMAS
from milepost_backtester.sweep.trials import Trials
from milepost_contracts.specs.sweep import WalkForwardSpec

from tests.backtester.backtest_doubles import through_json
from tests.backtester.sweep_doubles import content_of, engine_of, finished, trials_of
from tests.backtester.test_backtester_ablation_attributes import attributes_of
from tests.support.bars import make_bars

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[2] / "docs" / "state.md"
BARS = make_bars(480, 3)
WALK = WalkForwardSpec(train_bars=240, test_bars=80)
COMBINATIONS = [
    {"fast": 2, "slow": 11, "quantity": 10.0, "allow_short": True},
    {"fast": 3, "slow": 400, "quantity": 10.0, "allow_short": True},
    {"fast": 5, "slow": 8, "quantity": 10.0, "allow_short": True},
]
"""The second one never trades, so that figures are undefined."""
COLUMNS = (*NAMES, "undefined")
ROWS = ("fills", "trades")
MARKS = ("equity", "cash", "position")

Change = Callable[["Saved"], None]


@dataclass
class Saved:
    """What a checkpoint holds."""

    state: dict[str, Any]
    combinations: dict[str, Any]
    folds: dict[str, Any]
    logs: Logs


def walk() -> SweepEngine:
    """Ranked from the lowest, so that one that trades is chosen."""
    plan = Plan(COMBINATIONS, folds_of(WALK, len(BARS)), walks=True)
    return engine_of(trials_of(BARS), plan, direction="lowest")


def saved(engine: SweepEngine) -> Saved:
    return Saved(
        through_json(engine.state_dict()),
        engine.combinations.columns(0, engine.unit),
        engine.forward.fold_columns(0, len(engine.forward.chosen)),
        engine.forward.logs.copy(),
    )


def cut_after(units: int) -> Saved:
    engine = walk()
    with engine:
        while engine.unit < units:
            engine.step()
        return saved(engine)


def ended(units: int, change: Change = lambda _: None) -> Any:
    """What is left after going on from a cut; a checkpoint that is refused is told by its words."""
    kept, engine = cut_after(units), walk()
    change(kept)
    engine.combinations.extend(kept.combinations)
    engine.forward.restore(kept.folds, kept.logs)
    try:
        engine.load_state_dict(kept.state)
    except StateError as error:
        return f"refused: {error}"
    return content_of(finished(engine))


@pytest.fixture(scope="module")
def undisturbed() -> Any:
    return content_of(finished(walk()))


MID_FOLD = 4
"""A fold is traded, and the next one has its first figures."""


def first_column(after: str) -> list[str]:
    """Names in the first column of the table that begins with ``after`` on the page."""
    section = PAGE.read_text().split("## Sweep", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", section.split(after, 1)[1].split("\n\n", 1)[0], re.MULTILINE)


def spoiled(columns: dict[str, Any], name: str) -> None:
    """Other values than were computed."""
    columns[name] = ['{"sharpe":"why"}'] * len(columns[name]) if name == "undefined" else columns[name] + 1.0


def test_with_everything_put_back_it_ends_the_same(undisturbed: Any) -> None:
    """After any number of units the state and the tables are enough."""
    for units in range(len(COMBINATIONS) * 3 + 1):
        assert ended(units) == undisturbed


@pytest.mark.parametrize("field", first_column("| value |"))
def test_a_value_left_out_changes_the_result(field: str, undisturbed: Any) -> None:
    """With one value as a fresh sweep has it, the sweep is refused or ends otherwise."""
    assert ended(MID_FOLD, lambda kept: kept.state.update({field: 0})) != undisturbed


@pytest.mark.parametrize("column", COLUMNS)
def test_figures_left_out_change_the_result(column: str, undisturbed: Any) -> None:
    """With one figure of the combinations done, or of the folds, not as it was, the sweep ends otherwise."""
    assert ended(MID_FOLD, lambda kept: spoiled(kept.combinations, column)) != undisturbed
    assert ended(MID_FOLD, lambda kept: spoiled(kept.folds, column)) != undisturbed


def test_the_figures_so_far_decide_what_is_traded(undisturbed: Any) -> None:
    """With another value of the figure ranked by, another combination trades the fold: it is no mere result."""

    def worse(kept: Saved) -> None:
        kept.combinations["total_return"][-1] = -1.0

    other = ended(MID_FOLD, worse)
    traded = [part for part in other if isinstance(part, bytes)]
    assert traded != [part for part in undisturbed if isinstance(part, bytes)]


def test_the_choice_of_a_fold_left_out_changes_the_result(undisturbed: Any) -> None:
    """Which combination traded a fold is a result."""
    kept = cut_after(MID_FOLD)
    assert kept.folds["combination"].tolist() != [1]
    changed = ended(MID_FOLD, lambda found: found.folds.update(combination=np.array([1])))
    assert changed != undisturbed


@pytest.mark.parametrize("name", [*ROWS, *MARKS])
def test_a_log_left_out_changes_the_result(name: str, undisturbed: Any) -> None:
    """Without one log of what was traded, or with zeros in its place, the sweep is refused or ends otherwise."""

    def emptied(kept: Saved) -> None:
        setattr(kept.logs, name, getattr(kept.logs, name)[:0])

    def zeroed(kept: Saved) -> None:
        setattr(kept.logs, name, np.zeros_like(getattr(kept.logs, name)))

    if name in ROWS:
        assert ended(MID_FOLD, emptied) != undisturbed
    assert ended(MID_FOLD, zeroed) != undisturbed


def test_the_next_fold_begins_with_the_money_of_the_last(undisturbed: Any) -> None:
    """The last equity decides what later folds have: with another one they end elsewhere."""

    def richer(kept: Saved) -> None:
        kept.logs.equity[-1] += 1.0

    other = ended(MID_FOLD, richer)
    count = len(COMBINATIONS)
    assert other[3 * count + 1] != undisturbed[3 * count + 1]


def test_the_page_names_what_is_saved() -> None:
    """docs/state.md, this test, the state and the segments of a checkpoint name the same values and tables."""
    assert set(first_column("| value |")) == STATE_FIELDS == set(walk().state_dict())
    assert set(first_column("| table |")) == set(SCHEMAS)
    assert set(SCHEMAS["combinations"].names) == set(COLUMNS)
    assert set(SCHEMAS["folds"].names) == {"combination", *COLUMNS}
    assert {field.name for field in fields(Logs)} == {*ROWS, *MARKS}


ATTRIBUTES: dict[type, dict[str, str]] = {
    SweepEngine: {
        "plan": "input; fingerprint",
        "_trials": "its own attributes below",
        "_initial_cash": "fingerprint",
        "rank_by": "fingerprint",
        "direction": "fingerprint",
        "_threads": "setting; changes nothing",
        "_pool": "those threads",
        "_ahead": "units that are computed but not done; done again",
        "_markets": "cache of the input",
        "combinations": "table",
        "forward": "its own attributes below",
    },
    Plan: {
        "combinations": "input; fingerprint",
        "folds": "follow from spec and input",
        "walks": "fingerprint",
    },
    Fold: dict.fromkeys(("train_start", "train_stop", "test_start", "test_stop"), "follow from the spec"),
    Trials: {
        "_bars": "input",
        "_make_strategy": "fingerprint: strategy; its state lives within a unit",
        "_initial_cash": "fingerprint",
        "_terms": "fingerprint",
        "_tier": "fingerprint",
        "_clock": "only says how long chunks are",
        "_chunk_bars": "where chunks end changes nothing",
    },
    FigureTable: {"_values": "table", "_undefined": "table"},
    ForwardLog: {
        "_folds": "follow from the plan",
        "_ends": "follow from the plan",
        "_equity": "table: account",
        "_cash": "table: account",
        "_position": "table: account",
        "fills": "table",
        "trades": "table",
        "figures": "table: folds",
        "chosen": "table: folds",
    },
}


def test_no_attribute_is_undeclared() -> None:
    """Whoever adds an attribute to the sweep must say here what becomes of it."""
    engine = walk()
    found: dict[type, set[str]] = {}
    with engine:
        while engine.unit < engine.total_units:
            engine.step()
            things = (engine, engine.plan, engine.plan.folds[0], engine._trials)
            for thing in (*things, engine.combinations, engine.forward, engine.forward.figures):
                found.setdefault(type(thing), set()).update(attributes_of(thing))
    assert found == {kind: set(names) for kind, names in ATTRIBUTES.items()}
