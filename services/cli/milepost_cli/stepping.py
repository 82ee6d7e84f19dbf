"""Go through steps by single keys in a terminal."""

import json
import os
import sys
import termios
import tty
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from milepost_orchestrator.application.replaying import Step
from milepost_runtime.event_log import LogEntry
from milepost_runtime.history.differences import ABSENT, Difference
from rich.text import Text

from milepost_cli.event_words import entry_words
from milepost_cli.output import people

CHANGES_SHOWN_MAX = 40
VALUE_CHARACTERS_MAX = 100
KEY_BYTES_MAX = 8
"""An arrow is three bytes."""
KEYS = "n next, b back, f next status, g first, G last, s state, q quit"
ENDING = frozenset({"q", "\x04"})
_QUIET = frozenset({"sequence"})
"""Changes with every event."""


class Stepper:
    """Shows one step after the other, as the keys say."""

    def __init__(self, steps: Sequence[Step], *, total: int) -> None:
        self._steps = steps
        self._total = total
        self._place = 0

    def run(self) -> None:
        """Show the first step and follow the keys until q or the end of the input."""
        with single_keys() as keys:
            people().print(Text(KEYS, style="dim"))
            self._show()
            while typed := keys():
                # What was typed while a step was drawn comes all at once; only an arrow is several bytes.
                for key in [typed] if typed.startswith("\x1b") else typed:
                    if key in ENDING:
                        return
                    self._press(key)

    def _press(self, key: str) -> None:
        before = self._place
        match key:
            case "n" | " " | "\r" | "\n" | "j" | "\x1b[C" | "\x1b[B":
                self._place = min(self._place + 1, len(self._steps) - 1)
            case "b" | "p" | "k" | "\x1b[D" | "\x1b[A":
                self._place = max(self._place - 1, 0)
            case "f":
                self._place = self._next_status()
            case "g":
                self._place = 0
            case "G":
                self._place = len(self._steps) - 1
            case "s":
                state = json.dumps(self._steps[self._place].state, indent=2, ensure_ascii=False, default=str)
                people().print(state, soft_wrap=True)
                return
            case _:
                people().print(Text(KEYS, style="dim"))
                return
        if self._place == before:
            people().print(Text("there is nothing further that way; q quits", style="dim"))
        else:
            self._show()

    def _next_status(self) -> int:
        for place in range(self._place + 1, len(self._steps)):
            if any(change.path == "status" for change in self._steps[place].changes):
                return place
        return len(self._steps) - 1

    def _show(self) -> None:
        print_step(self._steps[self._place], self._total)


@contextmanager
def single_keys() -> Generator[Callable[[], str]]:
    """Yield what waits for a key, without the return key and without an echo; the terminal is put back at the end.

    One mode for the whole time: switching it for each key would lose what is typed in between.
    """
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSADRAIN)
    try:
        yield lambda: os.read(terminal, KEY_BYTES_MAX).decode(errors="replace")
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def print_step(step: Step, total: int) -> None:
    """Print an event and what it changed."""
    entry = step.entry
    time = f"  {entry.envelope.time.astimezone():%H:%M:%S}" if isinstance(entry, LogEntry) else ""
    head = Text.assemble(
        (f"[{step.number}/{total}]", "dim"), f" {entry.sequence}{time}  ", (entry_words(entry), "bold")
    )
    people().print(head, soft_wrap=True)
    changes = [change for change in step.changes if change.path not in _QUIET]
    width = max((len(change.path) for change in changes[:CHANGES_SHOWN_MAX]), default=0)
    for change in changes[:CHANGES_SHOWN_MAX]:
        people().print(change_line(change, width), soft_wrap=True)
    if len(changes) > CHANGES_SHOWN_MAX:
        people().print(Text(f"  and {len(changes) - CHANGES_SHOWN_MAX} more; s shows all", style="dim"))


def change_line(change: Difference, width: int = 0) -> Text:
    """Return one change in a line: before in red, after in green."""
    line = Text(f"  {change.path.ljust(width)}  ")
    if change.before is not ABSENT:
        line.append(_value(change.before), style="red")
        line.append(" -> ")
    line.append("gone" if change.after is ABSENT else _value(change.after), style="green")
    return line


def _value(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[: VALUE_CHARACTERS_MAX - 3] + "..."
