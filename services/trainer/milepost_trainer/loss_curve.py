"""The loss curve of a training as a picture; the same history gives the same bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

SIZE_INCHES = (8.0, 5.0)
DOTS_PER_INCH = 120
TRAIN, VALIDATION, BEST, RATE, TEXT, GRID = "#4c78a8", "#e4572e", "#2f2f2f", "#6b8e5a", "#333333", "#e3e3e3"
FEW_EPOCHS = 40
"""Up to so many, each epoch gets a dot."""
STEEP = 30.0
"""Losses whose largest is so many times the smallest are drawn on a logarithmic scale."""


def draw_losses(history: Mapping[str, Sequence[float]], best_epoch: int, path: Path) -> None:
    """Draw the losses of training and validation over the epochs, the best one marked, and the learning rate."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    # matplotlib's types leave this open; Any says so once.
    grid: Any = figure.subplots(2, 1, sharex=True, height_ratios=(7, 2))
    losses: Axes = grid[0]
    rates: Axes = grid[1]
    _draw_losses(losses, history, best_epoch)
    _draw_rates(rates, history)
    figure.align_ylabels()
    # Without the version that matplotlib would name in the file.
    figure.savefig(path, format="png", metadata={"Software": None})


def _draw_losses(axes: Axes, history: Mapping[str, Sequence[float]], best_epoch: int) -> None:
    epochs, validation = history["epoch"], history["validation_loss"]
    marker = "o" if len(epochs) <= FEW_EPOCHS else ""
    style: dict[str, Any] = {"linewidth": 1.8, "marker": marker, "markersize": 3.5}
    axes.plot(epochs, history["train_loss"], color=TRAIN, label="train", **style)
    axes.plot(epochs, validation, color=VALIDATION, label="validation", **style)
    if best_epoch:
        best = validation[best_epoch - 1]
        axes.axvline(best_epoch, color=BEST, linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.6, zorder=1)
        axes.plot(
            [best_epoch],
            [best],
            linestyle="none",
            marker="D",
            markersize=7,
            markerfacecolor="white",
            markeredgecolor=BEST,
            markeredgewidth=1.4,
            zorder=5,
            label=f"best: {best:.4g} in epoch {best_epoch}",
        )
    values = [*history["train_loss"], *validation]
    if values and min(values) > 0 and max(values) > STEEP * min(values):
        axes.set_yscale("log")
    axes.set_ylabel("loss", color=TEXT)
    axes.legend(frameon=False, loc="best", fontsize=9)
    _plain(axes)


def _draw_rates(axes: Axes, history: Mapping[str, Sequence[float]]) -> None:
    rates = history["learning_rate"]
    marker = "o" if len(rates) == 1 else ""
    # A rate holds for the whole epoch, so it is drawn in steps around each.
    axes.plot(
        history["epoch"],
        rates,
        color=RATE,
        linewidth=1.5,
        drawstyle="steps-mid",
        marker=marker,
        markersize=3.5,
    )
    axes.set_ylim(0, 1.15 * max(rates, default=1.0) or 1.0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", color=TEXT)
    axes.set_ylabel("learning\nrate", color=TEXT)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=TEXT, labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#999999")
