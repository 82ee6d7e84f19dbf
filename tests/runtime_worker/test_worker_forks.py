"""Children that are forked off a process with their imports done, with the test as their host."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from milepost_runtime.worker import child_process
from milepost_runtime.worker.child_process import ChildPool, ChildProcess, ChildStartError
from milepost_runtime.worker.forks import FRUITLESS_MAX, Forks
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


async def last_word(child: ChildProcess, directory: Path) -> Finished | Stopped | Raised:
    await child.send(run_message(directory, {"units": 500}))
    async for message in child.messages():
        if isinstance(message, Finished | Stopped | Raised):
            return message
    raise AssertionError("it died")


def is_over(pid: int) -> bool:
    """Whoever reaps it may do so at any moment."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def change(module: Path, content: str) -> None:
    module.write_text(content)


async def test_forked_children_compute_and_die_each_on_its_own(pool: ChildPool, tmp_path: Path) -> None:
    """Two at the same time: one is killed, which the host is told, and the other one goes on to its end."""
    one, other = await pool.take(), await pool.take()
    assert one.forked
    assert other.forked
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
    assert [child.forked for child in (before, *children)] == [True, False, True, True]
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
    assert is_over(child.pid)
    started, forked = await pool.take(), await pool.take()
    assert [started.forked, forked.forked] == [False, True]
    for each in (started, forked):
        await each.kill()


@pytest.mark.parametrize(
    "content",
    [
        "raise OSError",
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "import pathlib; pathlib.Path(__file__).write_text(pathlib.Path(__file__).read_text())",
    ],
)
async def test_imports_that_cannot_be_shared_cost_no_child(
    pool: ChildPool, imported: Path, content: str
) -> None:
    """Where they raise, start threads, or are written while they are imported, every child is started anew."""
    change(imported, content)
    children = [await pool.take() for _ in range(FRUITLESS_MAX + 1)]
    assert not any(child.forked for child in children)
    assert not pool._forks._useful
    for child in children:
        await child.kill()


async def test_a_fork_that_the_system_refuses_costs_no_child_that_runs(
    pool: ChildPool, imported: Path, tmp_path: Path
) -> None:
    """Where there is no room for one process more, who was forked before goes on."""
    change(
        imported,
        "import itertools, os\n"
        "fork, numbers = os.fork, itertools.count()\n"
        "def refuse():\n"
        "    if next(numbers):\n"
        "        raise BlockingIOError('no more processes')\n"
        "    return fork()\n"
        "os.fork = refuse\n",
    )
    forked, started = await pool.take(), await pool.take()
    assert [forked.forked, started.forked] == [True, False]
    assert isinstance(await last_word(forked, tmp_path), Finished)
    for child in (forked, started):
        await child.kill()


async def test_where_there_is_no_room_for_a_process_it_is_waited_for(
    pool: ChildPool, imported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host with work of its own does not end because the system has no room for another process just now."""
    change(imported, "raise OSError")
    monkeypatch.setattr(child_process, "SPAWN_PAUSE_SECONDS", 0.01)
    started, refusals = child_process._started, iter(range(3))

    async def refused(*arguments: Any) -> asyncio.subprocess.Process:
        if next(refusals, None) is not None:
            raise BlockingIOError("no more processes")
        return await started(*arguments)

    monkeypatch.setattr(child_process, "_started", refused)
    child = await pool.take()
    assert next(refusals, None) is None
    await child.kill()


async def test_what_failed_while_nobody_waited_for_it_is_tried_again(
    imported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that could not be warmed is none of the next operation's concern."""
    pool = ChildPool("counter", start_grace_seconds=60)
    refusing = asyncio.Event()
    started = child_process._started

    async def refused(*_: Any) -> asyncio.subprocess.Process:
        refusing.set()
        raise ChildStartError("it died")

    monkeypatch.setattr(child_process, "_started", refused)
    pool.warm()
    await refusing.wait()
    assert pool._next is not None
    await asyncio.wait({pool._next})
    monkeypatch.setattr(child_process, "_started", started)
    await (await pool.take()).kill()
    await pool.close()


async def test_forks_that_do_not_get_ready_are_given_up(pool: ChildPool, imported: Path) -> None:
    """What was imported does not survive a fork: the same operation gets a child that was started anew."""
    change(imported, "import os; os.register_at_fork(after_in_child=lambda: os._exit(3))")
    for _ in range(2):
        child = await pool.take()
        assert not child.forked
        await child.kill()
    assert pool._forks._server is None


async def test_a_server_that_does_not_answer_is_asked_no_more(imported: Path) -> None:
    """Imports that never end keep nobody waiting for ever."""
    begun = imported.with_name("begun")
    os.mkfifo(begun)
    change(imported, f"import os, signal; open({str(begun)!r}, 'w').write(str(os.getpid())); signal.pause()")
    forks = Forks((MODULE,), answer_seconds=5.0)
    forking = asyncio.create_task(forks.fork("counter", []))
    server_pid = int(await asyncio.to_thread(begun.read_text))
    with pytest.raises(TimeoutError):
        await forking
    await forks.close()
    assert is_over(server_pid)


async def test_a_pool_closes_beside_children_of_a_server_of_before(pool: ChildPool, imported: Path) -> None:
    """A host that ends with an error leaves them to be ended."""
    before = await pool.take()
    change(imported, "CHANGED = True")
    started = await pool.take()
    async with asyncio.timeout(20):
        await pool.close()
        assert "SIGKILL" in (await before.death()).message
    await before.close()
    await started.kill()


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
