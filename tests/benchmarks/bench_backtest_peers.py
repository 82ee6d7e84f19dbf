"""Milepost's backtester beside its peers: the same SMA cross with commission on the same bars, in the same run.

Each engine runs in a process of its own, so that its memory and its start are its own. The peers live in the
environment that ``make compare`` makes; without it only Milepost is measured. Run it alone:
``python -m tests.benchmarks.bench_backtest_peers``.
"""

from tests.comparison.contenders import NAUTILUS, OURS, PEERS, Contender, ask

Row = tuple[str, float, str]

SIZES = (10_000, 100_000, 1_000_000)
MEBIBYTE = 1 << 20


def measure() -> list[Row]:
    """Return bars a second, peak memory, and the time from the start of a process to its first result."""
    rows: list[Row] = []
    contenders = _present()
    for size in SIZES:
        figures = {
            contender: ask(contender, "speed", str(size))
            for contender in contenders
            if size <= contender.bars_max
        }
        for contender, figure in figures.items():
            rows.append((f"{contender.name}, {size:,} bars", size / figure["seconds"], "bars/s"))
        for contender, figure in figures.items():
            rows.append((f"{contender.name}, {size:,} bars, peak", figure["peak_bytes"] / MEBIBYTE, "MiB"))
    for contender in contenders:
        ask(contender, "first", str(SIZES[0]))  # files and compiled code are in their caches then
        first = ask(contender, "first", str(SIZES[0]))["process_seconds"]
        rows.append((f"{contender.name}, start of a process to its first result", first, "s"))
    return rows


def _present() -> tuple[Contender, ...]:
    return tuple(contender for contender in (*OURS, *PEERS, NAUTILUS) if contender.is_present)


def main() -> None:
    """Print the figures."""
    for name, value, unit in measure():
        print(f"{name:70} {value:14,.2f} {unit}")


if __name__ == "__main__":
    main()
