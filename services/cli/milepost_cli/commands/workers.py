"""``milepost workers``."""

from milepost_runtime.clock import SystemClock

from milepost_cli import reader
from milepost_cli.formatting import format_age
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
            reader.text(item, "device"),
            format_age(reader.moment(item, "started_at"), now),
            format_age(reader.moment(item, "seen_at"), now),
            ", ".join(reader.texts(item, "operations")),
        )
        for item in found
    ]
    headings = ("WORKER", "KIND", "HOST", "PID", "BUSY", "DEVICE", "STARTED", "SEEN", "OPERATIONS")
    print_table(headings, rows, right=("PID",), wrap=("OPERATIONS",))
