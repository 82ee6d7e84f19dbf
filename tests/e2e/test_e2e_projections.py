"""`milepost projections` by the command line."""

import asyncio
import json
import re

import nats
import pytest
from milepost_infra.running import read_running

from tests.e2e.command_line import CommandLine

pytestmark = pytest.mark.e2e
LOOKS_MAX = 250


def test_verify_and_rebuild(milepost: CommandLine) -> None:
    """Both find the live read models equal to what the log says, table by table, and say how fast."""
    operation_id = milepost.json("start", "backtest", "--set", "data.name=walk")["operation_id"]
    milepost("wait", operation_id)
    verified = milepost.json("projections", "verify", "--store")
    assert (verified["equal"], verified["swapped"], verified["store"]) == (True, False, {"missing": []})
    operations = next(table for table in verified["tables"] if table["table"] == "operations")
    assert operations["live"] == operations["rebuilt"]
    assert operations["live"]["rows"] > 0
    rebuilt = milepost("projections", "rebuild")
    assert re.search(r"operations +[\d,]+ +[\d,]+ +equal", rebuilt.out)
    assert "the rebuilt read models are in place" in rebuilt.out
    assert milepost.json("show", operation_id)["status"] == "completed"
    again = milepost.json("start", "backtest", "--set", "data.name=walk")["operation_id"]
    milepost("wait", again)
    assert milepost.json("projections", "verify")["equal"] is True


def test_quarantine_is_listed_shown_and_tried_again(milepost: CommandLine) -> None:
    """An event that nobody can read is named with its reason and its words, and stays until it can be read."""
    operation_id = milepost.json("start", "backtest", "--set", "data.name=walk")["operation_id"]
    milepost("wait", operation_id)
    asyncio.run(_publish(milepost, operation_id))
    found = []
    for _ in range(LOOKS_MAX):
        found = milepost.json("projections", "quarantine", "list")["quarantine"]
        if found:
            break
    (event,) = [each for each in found if each["operation_id"] == operation_id]
    assert (event["event"], event["payload"]) == ("later", {"type": "of tomorrow"})
    shown = milepost("projections", "quarantine", "show", str(event["sequence"]))
    assert "of tomorrow" in shown.out
    assert milepost.json("projections", "quarantine", "show", "1", code=3)["code"] == "event-not-found"
    tried = milepost.json("projections", "quarantine", "retry", code=1)
    assert event["sequence"] in tried["refused"]
    assert "later" in milepost("projections", "quarantine", "list").out
    assert "cannot be read" in milepost("events", "show", operation_id).out


async def _publish(milepost: CommandLine, operation_id: str) -> None:
    running = read_running(milepost.directory)
    assert running is not None
    connection = await nats.connect(running.endpoints.bus.url)
    try:
        subject = f"{running.endpoints.bus.prefix}.event.{operation_id}.control.later"
        await connection.jetstream().publish(subject, json.dumps({"type": "of tomorrow"}).encode())
    finally:
        await connection.close()
