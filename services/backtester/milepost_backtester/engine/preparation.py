"""Have everything compiled before it is needed: seconds once for an installation, then a read from the disk."""

import numpy as np

from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.book import Book
from milepost_backtester.engine.terms import Terms


def prepare_rules() -> None:
    """Compile the rules of the engine, or load them."""
    price = np.ones(2)
    book = Book(Bars(np.arange(2), price, price, price, price, price), Terms(), 1.0)
    book.pursue_to(1, np.ones((1, 1)))
    book.run_to(2)


if __name__ == "__main__":
    prepare_rules()
