"""The child's sink: a checkpoint that is put together in the background is staged as any other."""

import threading
from pathlib import Path
from typing import Any

import pytest
from milepost_contracts.checkpoints import CheckpointReason
from milepost_runtime.checkpoints.data import CheckpointData, DeferredData
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.clock import SystemClock
from milepost_runtime.worker.child_sink import ChildSink

pytestmark = pytest.mark.unit


def sink_of(directory: Path, messages: list[Any]) -> ChildSink:
    return ChildSink(
        spool=Spool(directory),
        operation_id="op-1",
        send=messages.append,
        save_now=threading.Event(),
        clock=SystemClock(),
        progress_seconds=0.0,
        total_units=9,
    )


def test_what_is_put_together_later_is_put_together_by_the_writing_thread(tmp_path: Path) -> None:
    """The computing thread hands over and goes on; the sink is busy from then on, and the order is kept."""
    messages: list[Any] = []
    sink, go_on, threads = sink_of(tmp_path, messages), threading.Event(), list[str]()

    def complete() -> CheckpointData:
        assert go_on.wait(60)
        threads.append(threading.current_thread().name)
        return CheckpointData(unit=3, state={"n": 3})

    sink.save(DeferredData(3, complete), CheckpointReason.PERIODIC)
    sink.save(CheckpointData(unit=4, state={"n": 4}), CheckpointReason.MANUAL)
    assert (sink.busy(), sink.unit, threads) == (True, 4, [])
    go_on.set()
    sink.close()
    staged = [Spool(tmp_path).load(Path(message.directory)) for message in messages]
    assert [(found.unit, found.reason) for found in staged] == [
        (3, CheckpointReason.PERIODIC),
        (4, CheckpointReason.MANUAL),
    ]
    assert threads == ["writer"]


def test_a_checkpoint_that_cannot_be_put_together_ends_the_run(tmp_path: Path) -> None:
    """The error comes up in the computing thread, and nothing of the checkpoint was staged."""
    messages: list[Any] = []
    sink = sink_of(tmp_path, messages)

    def broken() -> CheckpointData:
        raise MemoryError("no memory for the copy")

    sink.save(DeferredData(3, broken), CheckpointReason.PERIODIC)
    with pytest.raises(MemoryError, match="no memory for the copy"):
        sink.close()
    assert messages == []
    assert not Spool(tmp_path).pending("op-1")
