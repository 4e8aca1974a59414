"""Pictures by matplotlib, of the extra `plots`: the same numbers give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import InputError


def new_figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    """A figure of this size in inches and its axes, (rows, columns); options are those of `Figure.subplots`.

    Raises InputError without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("pictures need matplotlib: pip install 'openprm[plots]'") from None
    figure = Figure(figsize=size, dpi=120, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.ravel():
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_axisbelow(True)
    return figure, axes


def grid(panels: int, size: tuple[float, float], **options: Any) -> tuple[Any, list[Any]]:
    """A figure of so many panels, three beside each other, of this size in inches each; and their axes."""
    columns = min(panels, 3)
    rows = -(-panels // columns)
    figure, axes = new_figure(rows, columns, (columns * size[0], rows * size[1]), **options)
    for axis in axes.ravel()[panels:]:
        axis.remove()
    return figure, list(axes.ravel()[:panels])


def save_figure(figure: Any, path: Path) -> None:
    """Writes it as .png, .svg or .pdf, without the version and the date that would change the bytes."""
    from matplotlib import rc_context

    metadata = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
    with rc_context({"svg.hashsalt": "openprm"}):
        figure.savefig(path, metadata=metadata.get(path.suffix, {"CreationDate": None}))
