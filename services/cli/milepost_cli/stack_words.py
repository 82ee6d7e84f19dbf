"""A running stack in words and in JSON; never with its secrets."""

from milepost_infra.running import RunningStack

from milepost_cli.output import notes, people, print_facts

SERVERS = ("nats", "postgres", "s3")


def stack_document(running: RunningStack) -> dict[str, object]:
    """Return the JSON form: addresses and pids."""
    return {
        "directory": str(running.directory),
        "http_url": running.http_url,
        "bus": running.endpoints.bus.shown_url,
        "store": running.endpoints.store.endpoint,
        "database": running.endpoints.shown_database_url,
        "supervisor_pid": running.supervisor.pid,
        "processes": dict(running.processes),
        "workers": workers_of(running),
    }


def workers_of(running: RunningStack) -> list[str]:
    """Return the names of its workers."""
    return sorted(name for name in running.processes if name not in (*SERVERS, "orchestrator"))


def print_stack(running: RunningStack) -> None:
    """Print where a stack is and what to do with it."""
    people().print("the stack is ready", style="bold")
    print_facts(
        {
            "directory": str(running.directory),
            "orchestrator": running.http_url,
            "bus": running.endpoints.bus.shown_url,
            "store": running.endpoints.store.endpoint,
            "database": running.endpoints.shown_database_url,
            "workers": ", ".join(workers_of(running)) or "none",
            "logs": str(running.directory / "logs"),
        }
    )
    notes().print("next: milepost data sample aapl; milepost start backtest --set data.name=aapl --follow")
    notes().print("stop it with: milepost down")
