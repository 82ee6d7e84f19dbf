"""``milepost down``."""

from milepost_infra.supervisor import stop

from milepost_cli.location import stack_directory
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import notes, people, print_json

app = new_app()


@app.command(epilog=examples("milepost down", "milepost down --directory /data/milepost"))
def down(directory: DirectoryOption = None, as_json: JsonOption = False) -> None:
    """Stop what `milepost up` started; the data stays.

    Workers save a checkpoint of what runs; after the next `milepost up` it goes on from there.
    """
    place = stack_directory(directory)
    with notes().status(f"stopping the stack in {place}"):
        stopped = stop(place)
    if as_json:
        print_json({"directory": str(place), "stopped": stopped})
        return
    words = f"stopped; the data stays in {place}" if stopped else f"no stack runs in {place}"
    people().print(words, soft_wrap=True)
