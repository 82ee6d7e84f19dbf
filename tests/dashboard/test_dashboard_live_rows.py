"""The list, live: what is sent of it and what is not, in which order, and what operations wait for."""

import asyncio

import pytest
from milepost_contracts.events import Event
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.application.live import LiveBatch
from milepost_orchestrator.application.projections import project
from milepost_orchestrator.application.sparklines import Sparklines
from milepost_orchestrator.application.state_cache import StateCache
from milepost_orchestrator.entrypoints.dashboard.assets import load_assets
from milepost_orchestrator.entrypoints.dashboard.columns import columns_of
from milepost_orchestrator.entrypoints.dashboard.operations_live import OperationRows, OperationsView
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.shared_parts import Part, SharedParts
from milepost_runtime.bus.fleet import NatsFleet
from milepost_runtime.clock import SystemClock
from playwright.async_api import expect

from tests.dashboard.browser import WAIT_MILLISECONDS, Visitor
from tests.orchestrator.running import Running
from tests.orchestrator.stories import EPOCH, OPERATION, claimed, log_entries, progress, requested, started


class Told:
    """An operation's events, batch by batch, and a list that takes as long to read as a test wants."""

    def __init__(self, columns: str) -> None:
        self._cache = StateCache()
        self._sequence = 0
        self.can_be_read = asyncio.Event()
        self.can_be_read.set()
        self.is_read = asyncio.Event()
        self._shared = SharedParts(SystemClock(), lambda: self._sequence)
        renderer = Renderer(load_assets())
        self._rows = OperationRows(renderer, no_sparklines(), columns_of(columns), may_act=False)
        self.view = self.opened()

    def opened(self) -> OperationsView:
        """The list of a page that was made just now."""
        return OperationsView("address", self._rows, self._shared, self._make, known=self._sequence)

    async def changes(self, *events: Event) -> bytes:
        """What the page is sent at once."""
        entries = log_entries(*events, first_sequence=self._sequence + 1)
        self._sequence += len(events)
        return await self.view.changes([LiveBatch(project(self._cache, entries))]) or b""

    async def again(self) -> bytes:
        """What the page is sent when it has to begin anew."""
        return await self.view.again(self._sequence)

    async def _make(self) -> Part:
        self.is_read.set()
        await self.can_be_read.wait()
        return Part(b"the list", frozenset({OPERATION}))


def no_sparklines() -> Sparklines:
    """None is asked for where there is no column of them."""
    return Sparklines.__new__(Sparklines)


@pytest.mark.unit
async def test_a_row_that_looks_as_before_is_not_sent_again() -> None:
    """An event's time alone changes a row where it is shown, and nowhere else."""
    for columns, is_sent in (("progress", False), ("progress.event", True)):
        told = Told(columns)
        assert await told.changes(requested(), claimed(), started()) == b"the list"
        assert b"20" in await told.changes(progress(20))
        assert bool(await told.changes(progress(20))) is is_sent
        assert b"21" in await told.changes(progress(21))


@pytest.mark.unit
async def test_rows_wait_for_no_list_and_a_list_takes_none_of_them_back() -> None:
    """What happens while a list is read is shown at once, and again after a list that does not know it."""
    told = Told("progress")
    await told.changes(requested())
    told.can_be_read.clear()
    told.is_read.clear()
    assert b"running" in await told.changes(claimed())
    assert await told.view.unprompted() is None
    await told.is_read.wait()
    assert b"<td" in await told.changes(started(), progress(20))
    assert await told.view.unprompted() is None
    told.can_be_read.set()
    found = None
    while found is None:
        found = await told.view.unprompted()
    assert found.startswith(b"the list<template>")
    assert b"20" in found


@pytest.mark.unit
async def test_a_list_that_is_read_again_is_followed_by_none_from_before() -> None:
    """A page that has to begin anew while a list is read for it is not taken back by that one."""
    told = Told("progress")
    await told.changes(requested())
    told.can_be_read.clear()
    told.is_read.clear()
    await told.changes(claimed())
    assert await told.view.unprompted() is None
    await told.is_read.wait()
    again = asyncio.create_task(told.again())
    told.is_read.clear()
    await told.is_read.wait()  # for the second time: what was read before is waited for no more
    told.can_be_read.set()
    assert await again == b"the list"
    assert await told.view.unprompted() is None


@pytest.mark.unit
async def test_a_new_page_is_not_given_a_list_from_before_it() -> None:
    """What others were shown a moment ago lacks what the page has."""
    told = Told("progress")
    await told.changes(requested())
    assert await told.opened().unprompted() == b"the list"
    await told.changes(claimed(), started())
    assert await told.opened().unprompted() is None


@pytest.mark.integration
async def test_a_row_says_what_its_operation_waits_for_as_it_changes(
    running: Running, tenant: StackEndpoints, person: Visitor
) -> None:
    """No event tells that a worker came: the row does all the same, and says nothing once it runs."""
    operation_id = await running.start(name="nightly")
    await running.projected()
    row = person.page.locator(f"#row-{operation_id}")
    await person.visit("/ui/operations")
    await expect(row).to_contain_text("no worker of kind counter is alive")
    beat = WorkerHeartbeat(
        worker_id="w-1",
        kind="counter",
        host="h",
        pid=1,
        slots=2,
        device="cpu",
        version="0",
        operations=(),
        started_at=EPOCH,
        seen_at=EPOCH,
    )
    await NatsFleet(running.orchestrator.connection, tenant.bus).beat(beat)
    await expect(row).to_contain_text("is about to claim it", timeout=WAIT_MILLISECONDS)
    assert await person.violations() == []
    await running.happen(operation_id, claimed(), started(), progress(10))
    await expect(row).to_contain_text("10 %")
    await expect(row).not_to_contain_text("claim it")
