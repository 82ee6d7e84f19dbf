"""What a job tells and leaves, and what a process loads for it."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from milepost_contracts.specs.backtest import BacktestSpec

from tests.backtester.job_doubles import (
    BARS,
    Workplace,
)
from tests.support.bridge import host_of

pytestmark = pytest.mark.unit


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def test_results_can_be_read(place: Workplace) -> None:
    """The files hold what the summary says."""
    job = place.job()
    job.run(host_of(place.sink(), BARS))
    directory = place.directory / "out"
    directory.mkdir()
    summary = job.write_results(directory).summary
    equity = pq.read_table(directory / "equity.parquet")
    trades = pq.read_table(directory / "trades.parquet")
    assert json.loads((directory / "statistics.json").read_bytes()) == summary
    assert equity.num_rows == summary["bars"] == BARS
    assert equity.schema.names == ["timestamp", "equity", "cash", "position"]
    assert equity["equity"][-1].as_py() == summary["final_equity"]
    assert trades.num_rows == summary["trades"] > 100
    assert pq.read_table(directory / "fills.parquet").num_rows == summary["fills"]
    entered, left = trades["entry_time"].to_pylist(), trades["exit_time"].to_pylist()
    assert all(entry < exit_ for entry, exit_ in zip(entered, left, strict=True))


def test_progress_tells_equity_position_and_trades(place: Workplace) -> None:
    """Each report has the three figures, the last one of the last bar."""
    sink = place.sink()
    place.job().run(host_of(sink, BARS))
    unit, metrics = sink.reported[-1]
    assert unit == BARS
    assert set(metrics) == {"equity", "position", "trades"}


def test_the_kind_is_described_without_heavy_imports() -> None:
    """A host that only announces the kind loads no pandas, torch, numpy or pyarrow."""
    code = (
        "import sys, json\n"
        "from milepost_runtime.worker.kinds import load_kind\n"
        "kind = load_kind('backtest').describe()\n"
        "heavy = [n for n in ('pandas', 'torch', 'numpy', 'pyarrow', 'numba') if n in sys.modules]\n"
        "print(json.dumps([heavy, kind.model_dump(mode='json')]))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy, kind = json.loads(output)
    assert heavy == []
    assert kind["dataset_fields"] == ["data"]
    assert kind["unit_name"] == "bar"
    assert set(kind["parts"]["strategy"]["sma-cross"]["properties"]) == {
        "fast",
        "slow",
        "allow_short",
        "sizing",
        "quantity",
        "tolerance",
        "range_bars",
    }
    assert BacktestSpec.model_validate(kind["example"]).strategy.name == "sma-cross"


def test_a_child_that_waits_has_loaded_no_compiler() -> None:
    """Once its code was compiled for this machine: numba costs every child half a second and 60 MB."""
    code = (
        "import json, sys\n"
        "from milepost_backtester.worker import BacktestKind\n"
        "BacktestKind().warm_up()\n"
        "print(json.dumps([name for name in ('numba', 'scipy', 'torch', 'pandas') if name in sys.modules]))"
    )
    for _ in range(2):
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        if json.loads(said) == []:
            return
    assert json.loads(said) == []


def test_a_job_begins_without_what_only_its_end_needs(place: Workplace) -> None:
    """A fresh process that computes bars loads no report, statistics, messages of the bus, or logging."""
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from milepost_backtester.worker import BacktestKind\n"
        "from milepost_runtime.worker.kind import JobContext\n"
        "digest, data = sys.argv[1], Path(sys.argv[2])\n"
        "spec = {'data': {'name': 'test', 'digest': digest}, 'strategy': {'name': 'sma-cross'}}\n"
        "job = BacktestKind().create_job(JobContext('op-1', spec, {digest: data}, data.parent))\n"
        "job._engine.advance()\n"
        "late = ('milepost_backtester.report', 'milepost_backtester.statistics', 'milepost_contracts.messages',\n"
        "    'structlog', 'asyncio', 'numba', 'matplotlib', 'jinja2', 'pandas', 'sqlalchemy')\n"
        "print(json.dumps([name for name in late if name in sys.modules]))"
    )
    command = [sys.executable, "-c", code, place.digest, str(place.data)]
    assert json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == []
