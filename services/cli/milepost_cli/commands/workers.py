"""``milepost workers``."""

from collections.abc import Mapping

from milepost_runtime.clock import SystemClock

from milepost_cli import reader
from milepost_cli.formatting import format_age, format_size
from milepost_cli.location import locate
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import notes, print_json
from milepost_cli.tables import print_table

app = new_app()


@app.command(epilog=examples("milepost workers", "milepost workers --json"))
def workers(directory: DirectoryOption = None, as_json: JsonOption = False) -> None:
    """List the live workers.

    Each with what it computes; a worker that stops saying that it lives is gone from the list in seconds.
    """
    with locate(directory).api() as api:
        found = reader.objects(api.get("/workers"), "workers")
    if as_json:
        print_json({"workers": found})
        return
    if not found:
        notes().print("no live workers; start one with `milepost worker KIND`")
        return
    now = SystemClock().now()
    rows = [
        (
            reader.text(item, "worker_id"),
            reader.text(item, "kind"),
            reader.text(item, "host"),
            str(reader.whole(item, "pid") or "-"),
            f"{len(reader.texts(item, 'operations'))} of {reader.whole(item, 'slots') or 1}",
            _has(reader.mapping(item, "capabilities")),
            format_age(reader.moment(item, "started_at"), now),
            format_age(reader.moment(item, "seen_at"), now),
            ", ".join(reader.texts(item, "operations")),
        )
        for item in found
    ]
    headings = ("WORKER", "KIND", "HOST", "PID", "BUSY", "HAS", "STARTED", "SEEN", "OPERATIONS")
    print_table(headings, rows, right=("PID",), wrap=("OPERATIONS",))


def _has(capabilities: Mapping[str, object]) -> str:
    """What an operation may need of it: GPUs, memory, labels."""
    gpus, memory_bytes = (
        reader.whole(capabilities, "gpus") or 0,
        reader.whole(capabilities, "memory_bytes") or 0,
    )
    words = [f"{gpus} GPU{'' if gpus == 1 else 's'}"] if gpus else ["cpu"]
    words += [format_size(memory_bytes)] if memory_bytes else []
    return ", ".join([*words, *reader.texts(capabilities, "labels")])
