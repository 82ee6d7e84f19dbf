"""Checkpoints of a training side by side: Milepost, torch.save, Lightning, DCP, and what the machine allows.

Run it alone, on a quiet machine: ``python -m tests.benchmarks.bench_checkpoint_peers``; ``--help`` names the
options. It takes about ten minutes, with ``--quick`` three. How each figure is measured: docs/benchmarks.md.
"""

import argparse
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from tests.benchmarks.peers.contender import Contender
from tests.benchmarks.peers.limits import Limits, measure_limits
from tests.benchmarks.peers.measuring import Samples, measure_contender
from tests.benchmarks.peers.report import Sheet, cost_sheet, files_sheet, limits_sheet
from tests.benchmarks.peers.workload import SIZES, Size, build_model, build_optimizer, bytes_of, tensors_of

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Effort:
    """How often everything is measured; every round takes the contenders in the other order."""

    rounds: int
    saves: int
    loads: int


FULL, QUICK = Effort(rounds=2, saves=3, loads=3), Effort(rounds=1, saves=1, loads=1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All figures of one size."""

    size: Size
    limits: list[Limits]
    contenders: dict[str, Samples]
    remarks: dict[str, str]


def contenders() -> tuple[type[Contender], ...]:
    """Return who is compared; Lightning is there when requirements-bench.txt is installed."""
    from tests.benchmarks.peers import milepost_peer, torch_peers

    found: list[type[Contender]] = [
        milepost_peer.Milepost,
        milepost_peer.MilepostPaced,
        torch_peers.TorchSave,
        torch_peers.DistributedCheckpointSave,
        torch_peers.DistributedCheckpointThread,
        torch_peers.DistributedCheckpointStager,
    ]
    try:
        from tests.benchmarks.peers import lightning_peer
    except ModuleNotFoundError:
        logging.getLogger(__name__).warning("no Lightning here: pip install -r requirements-bench.txt")
    else:
        found += [lightning_peer.Lightning, lightning_peer.LightningAsync]
    return tuple(found)


def compare(size: Size, effort: Effort, directory: Path, say: Say) -> Comparison:
    """Measure every contender at one size, with the limits before, between and after the rounds."""
    chosen = contenders()
    found = {contender.name: Samples() for contender in chosen}
    limits = _limits(size, effort, directory, say)
    for number in range(effort.rounds):
        for kind in chosen if number % 2 == 0 else reversed(chosen):
            about = f"{size.name}, round {number + 1} of {effort.rounds}, {kind.name}"
            found[kind.name].extend(_course(kind, size, effort, directory, _prefixed(say, about)))
        limits += _limits(size, effort, directory, say)
    return Comparison(size, limits, found, {kind.name: kind.remark for kind in chosen if kind.remark})


def measure(directory: Path | None = None, *, quick: bool = False, say: Say | None = None) -> list[Table]:
    """Return the tables of both sizes."""
    found = compare_all(directory, QUICK if quick else FULL, say or (lambda _: None))
    return [sheet.table() for comparison in found for sheet in sheets_of(comparison)]


def compare_all(directory: Path | None, effort: Effort, say: Say) -> list[Comparison]:
    """Measure all sizes with one thread of torch."""
    with _surroundings(), tempfile.TemporaryDirectory(dir=directory, prefix="milepost-bench-") as name:
        return [compare(size, effort, Path(name), say) for size in SIZES]


def sheets_of(comparison: Comparison) -> list[Sheet]:
    """Return the limits and the contenders, for people."""
    size, limits, found = comparison.size, comparison.limits, comparison.contenders
    return [
        limits_sheet(size, limits),
        cost_sheet(size, limits, found),
        files_sheet(size, limits, found, comparison.remarks),
    ]


def _course(kind: type[Contender], size: Size, effort: Effort, directory: Path, say: Say) -> Samples:
    with tempfile.TemporaryDirectory(dir=directory) as own:
        contender = kind(size, Path(own))
        try:
            return measure_contender(contender, saves=effort.saves * size.share, loads=effort.loads, say=say)
        finally:
            contender.close()


def _limits(size: Size, effort: Effort, directory: Path, say: Say) -> list[Limits]:
    say(f"{size.name}: limits of the machine")
    model = build_model(size, seed=1)
    optimizer = build_optimizer(model)
    state_bytes = 3 * bytes_of(tensors_of(model, optimizer))  # weights and two moments
    return [measure_limits(state_bytes, directory) for _ in range(effort.loads + 1)]


def _prefixed(say: Say, about: str) -> Say:
    return lambda text: say(f"{about}: {text}")


@contextmanager
def _surroundings() -> Iterator[None]:
    """One thread of torch, and no remarks of DCP about running alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saves", type=int, metavar="N", help="saves of the large model in a round, not 3")
    parser.add_argument("--quick", action="store_true", help="few repetitions, to see that everything works")
    parser.add_argument(
        "--directory", type=Path, help="where to write, 2 GB free; default: the temporary one"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single figure there as well")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there as well")
    chosen = parser.parse_args()
    effort = QUICK if chosen.quick else FULL
    effort = replace(effort, saves=chosen.saves or effort.saves)
    console, progress = Console(), Console(stderr=True)
    with progress.status("beginning") as status:
        # A file gets a line each; a terminal one line that changes.
        found = compare_all(
            chosen.directory, effort, status.update if progress.is_terminal else progress.print
        )
    sheets = [sheet for comparison in found for sheet in sheets_of(comparison)]
    for sheet in sheets:
        console.print(sheet.table())
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(comparison) for comparison in found], indent=1))
    if chosen.markdown:
        chosen.markdown.write_text("\n\n".join(sheet.markdown() for sheet in sheets) + "\n")


if __name__ == "__main__":
    main()
