"""Where words go: people's output and JSON to stdout, progress and notes to stderr."""

import json
import math
import sys
from collections.abc import Mapping
from functools import cache
from typing import cast

from rich.console import Console

from milepost_cli.errors import ErrorWords

PLAIN_WIDTH = 240
PROBLEMS_SHOWN_MAX = 50


@cache
def people() -> Console:
    """Console for what was asked for. Nothing in it is markup: names may hold brackets."""
    return _console(to_stderr=False)


@cache
def notes() -> Console:
    """Console for progress, hints and errors."""
    return _console(to_stderr=True)


def print_json(document: object) -> None:
    """Print one JSON document, indented; floats that JSON has no word for become text."""
    sys.stdout.write(json.dumps(_exact(document), indent=2, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def print_json_line(document: object) -> None:
    """Print one JSON document on one line, at once."""
    sys.stdout.write(json.dumps(_exact(document), ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def print_error(words: ErrorWords, *, as_json: bool) -> None:
    """Print an error: one JSON document on stdout, or what and fix on stderr."""
    if as_json:
        print_json(words.document())
        return
    console = notes()
    console.print(f"error: {words.message}", style="bold red")
    said_already = len(words.problems) == 1 and words.problems[0].message in words.message
    for problem in () if said_already else words.problems[:PROBLEMS_SHOWN_MAX]:
        console.print(f"  {problem.field}: {problem.message}" if problem.field else f"  {problem.message}")
    hidden = len(words.problems) - PROBLEMS_SHOWN_MAX
    if hidden > 0:
        console.print(f"  and {hidden:,} more; --json names every one")
    if words.fix:
        console.print(f"fix: {words.fix}")


def print_facts(facts: Mapping[str, str | None]) -> None:
    """Print aligned ``name  value`` lines; facts without a value are left out."""
    console = people()
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        if value:
            console.print(f"{name.ljust(width)}  {value}", soft_wrap=True)


def _console(*, to_stderr: bool) -> Console:
    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return Console(stderr=to_stderr, width=width, markup=False, highlight=False, emoji=False)


def _exact(value: object) -> object:
    """JSON has no word for infinity or NaN: they become text, as everywhere in Milepost."""
    if isinstance(value, Mapping):
        return {str(key): _exact(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in cast("list[object]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
