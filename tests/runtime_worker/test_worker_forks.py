"""Children that are forked off a process with their imports done, with the test as their host."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from milepost_runtime.worker.child_process import ChildPool, ChildProcess
from milepost_runtime.worker.forks import ForkedProcess
from milepost_runtime.worker.messages import Finished, Raised, Stopped
from milepost_test_kinds.counter import expected_value

from tests.runtime_worker.test_worker_child import run_message

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every child is started anew"),
]
MODULE = "imported_once"


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of its own that a fork server imports, beside the test's kinds."""
    path = tmp_path / "modules" / f"{MODULE}.py"
    path.parent.mkdir()
    path.write_text("")
    plugins = Path(__file__).parent.parent / "plugins"
    monkeypatch.setenv("PYTHONPATH", f"{plugins}{os.pathsep}{path.parent}")
    return path


@pytest.fixture
async def pool(imported: Path) -> AsyncIterator[ChildPool]:
    found = ChildPool("counter", start_grace_seconds=60, preload=(MODULE, "milepost_runtime.worker.child"))
    yield found
    await found.close()


def is_forked(child: ChildProcess) -> bool:
    return isinstance(child._process, ForkedProcess)


async def last_word(child: ChildProcess, directory: Path) -> Finished | Stopped | Raised:
    await child.send(run_message(directory, {"units": 500}))
    async for message in child.messages():
        if isinstance(message, Finished | Stopped | Raised):
            return message
    raise AssertionError("it died")


def change(module: Path, content: str) -> None:
    module.write_text(content)


async def test_forked_children_compute_and_die_each_on_its_own(pool: ChildPool, tmp_path: Path) -> None:
    """Two at the same time: one is killed, which the host is told, and the other one goes on to its end."""
    one, other = await pool.take(), await pool.take()
    assert is_forked(one)
    assert is_forked(other)
    assert os.getsid(one.pid) == one.pid
    os.kill(one.pid, signal.SIGKILL)
    assert "SIGKILL, not by this worker" in (await one.death()).message
    await one.close()
    finished = await last_word(other, tmp_path)
    assert isinstance(finished, Finished)
    assert finished.summary["value"] == expected_value(500)
    async with asyncio.timeout(20):
        await other.ended(grace_seconds=10)
    assert other._process.returncode == 0


async def test_a_changed_import_has_the_next_children_import_anew(
    pool: ChildPool, imported: Path, tmp_path: Path
) -> None:
    """The next is started, those after it are forked off a new server; who was forked before goes on."""
    before = await pool.take()
    change(imported, "CHANGED = True")
    children = [await pool.take() for _ in range(3)]
    assert [is_forked(child) for child in (before, *children)] == [True, False, True, True]
    assert isinstance(await last_word(before, tmp_path), Finished)
    for child in (before, *children):
        await child.kill()


async def test_children_go_with_their_server_and_the_next_have_another(pool: ChildPool) -> None:
    """A server that is killed takes its children along, which the host is told of each."""
    child = await pool.take()
    server = psutil.Process(child.pid).parent()
    assert server is not None
    assert server.pid != os.getpid()
    server.kill()
    assert "SIGKILL" in (await child.death()).message
    await child.close()
    assert not psutil.pid_exists(child.pid) or psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    started, forked = await pool.take(), await pool.take()
    assert [is_forked(started), is_forked(forked)] == [False, True]
    for each in (started, forked):
        await each.kill()


@pytest.mark.parametrize(
    "content",
    [
        "raise OSError",
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
    ],
)
async def test_imports_that_cannot_be_shared_cost_no_child(
    pool: ChildPool, imported: Path, content: str
) -> None:
    """Where they raise, or start threads, every child is started anew, and no server is tried again."""
    change(imported, content)
    children = [await pool.take() for _ in range(2)]
    assert not any(is_forked(child) for child in children)
    assert pool._forks._server is None
    for child in children:
        await child.kill()


async def test_a_pool_closes_while_its_server_imports(pool: ChildPool, imported: Path) -> None:
    """Nobody waits for imports that nobody needs any more."""
    begun = imported.with_name("begun")
    os.mkfifo(begun)
    change(imported, f"import os, signal; open({str(begun)!r}, 'w').write(str(os.getpid())); signal.pause()")
    pool.warm()
    server_pid = int(await asyncio.to_thread(begun.read_text))
    async with asyncio.timeout(20):
        await pool.close()
    assert not psutil.pid_exists(server_pid)
