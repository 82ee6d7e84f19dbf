"""The same rules on the same bars by Milepost and its peers: ``make compare``.

Prints two tables: trades and equity of every engine beside Milepost's, and what each does with ten kinds of
bad data. Ends with an error where a difference is not the explained one (docs/comparison.md).
"""

import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import milepost_backtester.market_data as market_data
from rich.console import Console
from rich.table import Table

from tests.backtester.ten_kinds import KINDS, as_csv, good_bars
from tests.comparison.contenders import OURS, PEERS, Contender, ask, goog

ANCHORS = {"long": (10_079_225.725, 33), "both": (10_090_925.53, 66)}
MONEY_TOLERANCE = 1e-6
FIRST_BAR_LATER = {"backtesting.py"}
"""Decides for the first time one bar after both averages are there, so the first entry comes a bar later."""


def main() -> None:
    """Print both tables and say whether all is as documented."""
    console = Console(width=150)
    surprises = [*compare_runs(console), *compare_bad_data(console)]
    for surprise in surprises:
        console.print(f"not as documented: {surprise}")
    sys.exit(1 if surprises else 0)


def compare_runs(console: Console) -> list[str]:
    """Run the level rule everywhere; return what is not explained."""
    table = Table(
        "rule", "engine", "final equity", "closed trades", "equal trades", "largest difference of equity"
    )
    surprises: list[str] = []
    for rule, (final, closed) in ANCHORS.items():
        answers = {contender: ask(contender, "run", str(goog()), rule) for contender in (*OURS, *PEERS)}
        mine = answers[OURS[0]]
        for contender, answer in answers.items():
            equal = len(_equal_trades(mine["trades"], answer["trades"]))
            apart = max(abs(a - b) for a, b in zip(mine["equity"], answer["equity"], strict=True))
            count = len(answer["trades"])
            table.add_row(
                rule, contender.name, f"{answer['final_equity']:,.3f}", str(count), str(equal), f"{apart:.3g}"
            )
            explained = _late_entry(mine) if contender.name in FIRST_BAR_LATER else 0.0
            fine = (
                count == closed
                and equal == closed - (contender.name in FIRST_BAR_LATER)
                and math.isclose(answer["final_equity"] + explained, final, abs_tol=1e-5)
                and apart <= max(_late_reach(mine, explained), MONEY_TOLERANCE)
            )
            if not fine:
                surprises.append(f"{contender.name}, {rule}: {answer['final_equity']!r}, {count} trades")
    console.print(table)
    return surprises


def compare_bad_data(console: Console) -> list[str]:
    """Give ten kinds of bad data to everyone; return what is not as documented."""
    contenders = [Contender("Milepost", ""), *PEERS]
    table = Table("bad data", *(contender.name for contender in contenders), show_lines=True)
    caught = dict.fromkeys((contender.name for contender in contenders), 0)
    with tempfile.TemporaryDirectory(prefix="milepost-compare-") as name:
        for kind, spoil in KINDS.items():
            path = Path(name) / "bars.csv"
            path.write_text(as_csv(spoil(good_bars())))
            words = [_milepost_says(path), *(_peer_says(peer, path) for peer in PEERS)]
            for contender, said in zip(contenders, words, strict=True):
                caught[contender.name] += not said.startswith("silent")
            table.add_row(kind, *words)
    table.add_row("named or refused", *(f"{count} of {len(KINDS)}" for count in caught.values()))
    console.print(table)
    return [] if caught["Milepost"] == len(KINDS) else [f"Milepost names {caught['Milepost']} kinds"]


def _milepost_says(path: Path) -> str:
    table = market_data.read_bars(path)
    faults = market_data.check_bars(table)
    if faults:
        return f"refused: {faults[0]}"
    doubts = market_data.doubts_about(table)
    return f"doubted: {doubts[0]}" if doubts else "silent"


def _peer_says(peer: Contender, path: Path) -> str:
    answer = ask(peer, "run", str(path), "long")
    if "refused" in answer:
        return f"refused: {answer['refused'].splitlines()[0][:80]}"
    telling = [word for word in answer["warnings"] if "remain open" not in word]
    if telling:
        return f"warned: {telling[0][:80]}"
    return f"silent, {len(answer['trades'])} trades, ends at {answer['final_equity']:,.2f}"


def _equal_trades(mine: list[Any], theirs: list[Any]) -> list[Any]:
    def rounded(trades: list[Any]) -> set[tuple[float, ...]]:
        return {tuple(round(value, 6) for value in trade) for trade in trades}

    return sorted(rounded(mine) & rounded(theirs))


def _late_entry(mine: dict[str, Any]) -> float:
    """What entering a bar later costs: the price of the next open instead, with its commission."""
    bars = goog().read_text().splitlines()[1:]
    entry_bar, _, units, entry_price, *_ = mine["trades"][0]
    later_price = float(bars[entry_bar + 1].split(",")[1])
    return units * (later_price - entry_price) * (1 + 0.001)


def _late_reach(mine: dict[str, Any], explained: float) -> float:
    """While the late bar lasts, the curves are apart by the move of that bar too."""
    if not explained:
        return 0.0
    bar = mine["trades"][0][0]
    return max(abs(explained), abs(mine["equity"][bar] - mine["equity"][bar - 1])) + MONEY_TOLERANCE


if __name__ == "__main__":
    main()
