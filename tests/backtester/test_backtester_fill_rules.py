"""Each fill rule has a file with bars, orders and what comes of them; every tier ends as the file says."""

import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from milepost_backtester.engine import costs, decisions, lots, margin, matching
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.orders import Conditions
from milepost_backtester.engine.terms import Terms

from tests.backtester.backtest_doubles import digest_of, through_json
from tests.backtester.golden_doubles import (
    FillRule,
    Planned,
    PlannedActing,
    PlannedReference,
    PlannedSignals,
    fill_rules,
)
from tests.backtester.uncompiled import parts_done, parts_of, uncompiled

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[2] / "docs" / "fills.md"
RULES = fill_rules()
MODULES = (matching, costs, margin, lots, decisions)
WAYS = {"python": Planned, "wake": Planned, "on_bar": PlannedActing, "signals": PlannedSignals}


def engine_in(way: str, rule: FillRule) -> BacktestingEngine:
    tier: Any = way if way in ("python", "wake") else "compiled"
    return BacktestingEngine(
        rule.bars,
        WAYS[way](rule),
        initial_cash=rule.content["cash"],
        terms=rule.terms,
        tier=tier,
        warm_up_bars=rule.warm_up_bars,
    )


def ways_of(rule: FillRule) -> list[str]:
    """The tiers in which a rule's orders can be given."""
    ways = ["python", "on_bar", "signals"] if rule.symbols else list(WAYS)
    return [way for way in ways if way != "signals" or rule.wants_levels]


def done(way: str, rule: FillRule) -> BacktestingEngine:
    engine = engine_in(way, rule)
    engine.advance()
    return engine


def near(expected: Any) -> Any:
    """Decimals are written by hand, doubles are computed."""
    return pytest.approx(expected, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name, rule in RULES.items() for way in ways_of(rule)]
)
def test_every_tier_ends_as_the_file_says(name: str, way: str) -> None:
    """Fills, round trips, equity at each bar, waiting orders and outcome are those written down."""
    rule = RULES[name]
    engine, content = done(way, rule), rule.content
    wanted = [
        (
            each["bar"],
            rule.place(each.get("symbol")),
            each["units"],
            near(each["price"]),
            near(each.get("commission", 0)),
        )
        for each in content["fills"]
    ]
    assert [(f.bar, f.symbol, f.quantity, f.price, f.commission) for f in engine.fills] == wanted
    assert engine.equity.tolist() == near(content["equity"])
    trades = [
        (
            trade.entry_bar, trade.exit_bar, rule.place(each.get("symbol")),
            near(each["units"]), near(each["entry_price"]), near(each["exit_price"]), near(each["pnl"]),
        )
        for trade, each in zip(engine.trades, content["trades"], strict=True)
    ]  # fmt: skip
    assert [
        (t.entry_bar, t.exit_bar, t.symbol, t.quantity, t.entry_price, t.exit_price, t.pnl)
        for t in engine.trades
    ] == trades
    excursions = [(each["best"], each["worst"]) for each in content["trades"] if "best" in each]
    found = [(trade.max_favourable_excursion, trade.max_adverse_excursion) for trade in engine.trades]
    assert found == excursions or not excursions
    assert len(engine.waiting) == content.get("waiting", 0)
    outcome = dict.fromkeys(asdict(engine.outcome), 0) | content.get("outcome", {})
    assert asdict(engine.outcome) == near(outcome)


@pytest.mark.parametrize("name", RULES)
def test_tiers_end_equal(name: str) -> None:
    """All tiers, and each of them cut after any bar and taken through JSON, leave the same to the last bit."""
    rule = RULES[name]
    ways = ways_of(rule)
    expected = digest_of(done(ways[0], rule))
    for way in ways:
        for cut in range(len(rule.bars) + 1):
            first, second = engine_in(way, rule), engine_in(way, rule)
            first.advance(cut)
            second.load_state_dict(through_json(first.state_dict()), first.logs.copy())
            second.advance()
            assert digest_of(second) == expected, (way, cut)


@pytest.mark.parametrize("name", RULES)
def test_the_reference_agrees_with_the_file(name: str) -> None:
    """The tests' own second engine, made from the description alone, ends as the file says."""
    rule = RULES[name]
    reference = PlannedReference(rule).run()
    fills = [
        (each["bar"], rule.place(each.get("symbol")), each["units"], near(each["price"]))
        for each in rule.content["fills"]
    ]
    assert [(bar, symbol, units, price) for _, _, bar, units, price, _, symbol in reference.fills] == fills
    assert [mark[0] for mark in reference.marks] == near(rule.content["equity"])
    assert len(reference.line) == rule.content.get("waiting", 0)


def test_no_fill_rule_is_without_a_file() -> None:
    """The files need every expression of the rules; whoever adds one has to say in a file what it does."""
    with uncompiled(), parts_done(MODULES) as found:
        for rule in RULES.values():
            for way in ("python", "signals"):
                if way in ways_of(rule):
                    done(way, rule)
    missing = [
        f"{module.__name__}:{line}: {Path(module.__file__ or '').read_text().splitlines()[line - 1][start:end]}"
        for module in MODULES
        for line, start, end in sorted(parts_of(module) - found[module.__file__ or ""])
    ]
    assert missing == []


def test_no_condition_and_no_term_is_without_a_file() -> None:
    """Every field of an order and of the terms is given in a file."""
    given = {name for rule in RULES.values() for each in rule.orders for name in each}
    assert {field.name for field in fields(Conditions)} - given == set()
    terms = {name for rule in RULES.values() for name in rule.content.get("terms", {})}
    assert {field.name for field in fields(Terms)} == terms


def test_the_page_lists_the_rules() -> None:
    """docs/fills.md has each file's name and its sentence."""
    rows = re.findall(r"^\| \[`([a-z-]+)`\]\([^)]+\) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert dict(rows) == {name: rule.content["why"] for name, rule in RULES.items()}
    assert len(rows) == len(RULES)
