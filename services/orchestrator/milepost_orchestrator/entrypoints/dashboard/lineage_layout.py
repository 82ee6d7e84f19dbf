"""Where the operations of a lineage are drawn: one column for each generation, one row for each branch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLUMN_PIXELS, ROW_PIXELS = 270, 76
BOX_PIXELS = (220, 54)
NAME_CHARACTERS = 26
WORDS_CHARACTERS = 36


@dataclass(frozen=True, slots=True)
class Node:
    """One operation as a box, and the line that leads to it."""

    operation: Mapping[str, Any]
    x: int
    y: int
    name: str
    words: str
    """Its status and how far it is."""
    edge: str | None
    """The line from its parent, as an SVG path."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A whole lineage; sizes are in pixels."""

    nodes: tuple[Node, ...]
    width: int
    height: int


def drawing_of(operations: Sequence[Mapping[str, Any]]) -> Drawing:
    """Return where each operation is; parents come before their children."""
    children: dict[str | None, list[Mapping[str, Any]]] = {}
    known = {each["operation_id"] for each in operations}
    for each in operations:
        parent = each["parent_id"] if each["parent_id"] in known else None
        children.setdefault(parent, []).append(each)
    nodes: list[Node] = []
    waiting = [(each, 0, None) for each in reversed(children.get(None, []))]
    row, last_column = -1, -1
    while waiting:  # depth first, without recursion: chains of resumes are long
        operation, column, parent = waiting.pop()
        row = row + 1 if column <= last_column or row < 0 else row
        last_column = column
        node = _node(operation, column, row, parent)
        nodes.append(node)
        waiting += [
            (each, column + 1, node) for each in reversed(children.get(operation["operation_id"], []))
        ]
    columns = 1 + max((node.x for node in nodes), default=0) // COLUMN_PIXELS
    return Drawing(tuple(nodes), columns * COLUMN_PIXELS, (row + 1) * ROW_PIXELS)


def _node(operation: Mapping[str, Any], column: int, row: int, parent: Node | None) -> Node:
    x, y = column * COLUMN_PIXELS + 1, row * ROW_PIXELS + 1
    name = operation["name"] or operation["operation_id"]
    return Node(operation, x, y, shortened(name, NAME_CHARACTERS), _words(operation), _edge(parent, x, y))


def _edge(parent: Node | None, x: int, y: int) -> str | None:
    if parent is None:
        return None
    middle = BOX_PIXELS[1] // 2
    begin, bend = parent.x + BOX_PIXELS[0], x - 20
    return f"M{begin} {parent.y + middle}H{bend}V{y + middle}H{x}"


def _words(operation: Mapping[str, Any]) -> str:
    unit, total, name = operation["unit"], operation["total_units"], operation["unit_name"] or "unit"
    words = str(operation["status"])
    if total is not None:
        words += f", {unit} of {total} {name}s"
    return shortened(words, WORDS_CHARACTERS)


def shortened(text: str, characters: int) -> str:
    """Return a text that fits."""
    return text if len(text) <= characters else f"{text[: characters - 1]}…"
