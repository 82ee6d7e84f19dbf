"""A sweep of 100 combinations over 100 000 bars, beside vectorbt's, in the same run.

Each sweeps in processes of its own, in turns. vectorbt lives in the environment that ``make compare`` makes;
without it only Milepost is measured. Run it alone: ``python -m tests.benchmarks.bench_sweep``.
"""

from collections.abc import Callable
from typing import Any

from tests.comparison.contenders import Contender, ask

Row = tuple[str, float, str]
Figures = dict[str, Any]

BARS, BARS_COMPARED = 100_000, 10_000
COMBINATIONS = 100
ROUNDS = 3
MEBIBYTE = 1 << 20
OURS = Contender("Milepost", "milepost_sweep_peer.py", environment=None)
VECTORBT = Contender("vectorbt", "vectorbt_sweep_peer.py")


def measure(say: Callable[[str], object] = lambda _: None, *, quick: bool = False) -> list[Row]:
    """Return wall and processor time, bars a second and peak memory of each, and their ratios."""
    contenders = [contender for contender in (OURS, VECTORBT) if contender.is_present]
    found: dict[str, list[Figures]] = {contender.name: [] for contender in contenders}
    for number in range(1 if quick else ROUNDS):
        for contender in contenders:
            say(f"{contender.name}, round {number + 1}")
            found[contender.name].append(ask(contender, str(BARS)))
    best = {name: _best(rounds) for name, rounds in found.items()}
    for contender in contenders:
        say(f"{contender.name}, memory of a later sweep")
        best[contender.name]["later_bytes"] = _best([ask(contender, str(BARS), "loaded")])["work_bytes"]
    rows = [row for name, figures in best.items() for row in _rows(name, figures)]
    if VECTORBT.name in best:
        rows += _ratios(best[OURS.name], best[VECTORBT.name])
        rows.append(("combinations that end equal, of 100, 10 k bars", _equal(), ""))
    return rows


def _best(rounds: list[Figures]) -> Figures:
    names = ("seconds", "first_seconds", "processor_seconds", "process_seconds", "peak_bytes", "work_bytes")
    with_work = [{**found, "work_bytes": found["peak_bytes"] - found["ready_bytes"]} for found in rounds]
    return {name: min(found[name] for found in with_work) for name in names}


def _rows(name: str, figures: Figures) -> list[Row]:
    bars = BARS * COMBINATIONS
    return [
        (f"{name}, wall", figures["seconds"], "s"),
        (f"{name}, wall, first sweep of a process", figures["first_seconds"], "s"),
        (f"{name}, processor", figures["processor_seconds"], "s"),
        (f"{name}, bars of all combinations", bars / figures["seconds"], "bars/s"),
        (f"{name}, peak of the process", figures["peak_bytes"] / MEBIBYTE, "MiB"),
        (f"{name}, of it not there before the sweep", figures["work_bytes"] / MEBIBYTE, "MiB"),
        (f"{name}, of a sweep after a small one", figures["later_bytes"] / MEBIBYTE, "MiB"),
    ]


def _ratios(ours: Figures, theirs: Figures) -> list[Row]:
    names = {
        "seconds": "wall",
        "first_seconds": "wall of the first sweep",
        "processor_seconds": "processor",
        "peak_bytes": "peak",
        "work_bytes": "memory not there before the sweep",
        "later_bytes": "memory of a sweep after a small one",
    }
    return [
        (f"vectorbt / Milepost, {words}", theirs[name] / ours[name], "x") for name, words in names.items()
    ]


def _equal() -> float:
    """Count the combinations whose figures agree when vectorbt decides on exact averages too."""
    ours, theirs = ask(OURS, str(BARS_COMPARED)), ask(VECTORBT, str(BARS_COMPARED), "exact")
    columns = (zip(ours[name], theirs[name], strict=True) for name in ("final_equity", "max_drawdown"))
    pairs = zip(*columns, strict=True)
    return float(sum(all(abs(a - b) <= 1e-9 * max(abs(a), abs(b)) for a, b in found) for found in pairs))


def main() -> None:
    """Print the figures."""
    for name, value, unit in measure(print):
        print(f"{name:60} {value:14,.3f} {unit}")


if __name__ == "__main__":
    main()
