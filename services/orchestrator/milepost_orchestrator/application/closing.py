"""Close an iterator of the log at the end of a block."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypeVar, cast

ItemT = TypeVar("ItemT")


def closing_iterator(iterator: AsyncIterator[ItemT]) -> "aclosing[AsyncGenerator[ItemT]]":
    """Close the iterator at the end of the block; the log's iterators are generators in every adapter."""
    return aclosing(cast("AsyncGenerator[ItemT]", iterator))
