"""Writes the results of an evaluation on benchmarks, and what people read of them, into its folder."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...figure import save_figure
from .detail_plots import detail_pictures
from .page import Shown, page
from .plots import Picture, benchmark_pictures, overview_pictures
from .tables import document

RESULTS = "results.json"
TABLES = "tables.md"
PAGE = "report.html"
PICTURES = "pictures"
WIDE = 8  # inches; narrower pictures stand beside each other

logger = logging.getLogger(__name__)


def write_report(results: Mapping[str, Any], folder: Path, command: str) -> None:
    """Writes `RESULTS`, `TABLES`, `PAGE` and the folder `PICTURES`; `command` is what makes them again.

    Without matplotlib there are no pictures, and a warning says why.
    """
    results = finite(results)
    (folder / RESULTS).write_text(json.dumps(results, indent=2, allow_nan=False) + "\n", "utf-8")
    (folder / TABLES).write_text(document(results), "utf-8")
    (folder / PAGE).write_text(page(results, command, draw(results, folder / PICTURES)), "utf-8")


def finite(value: Any) -> Any:
    """The same for JSON: a number that is not there (NaN, or an infinite one) is None."""
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def draw(results: Mapping[str, Any], folder: Path) -> dict[str, list[Shown]]:
    """All pictures, by the name of their benchmark ("": of all); each is an SVG file in the folder too."""
    kinds = results["models"]

    def saved(pictures: Iterable[Picture]) -> list[Shown]:
        found = []
        for name, caption, figure in pictures:
            path = folder / f"{name}.svg"
            path.parent.mkdir(exist_ok=True)
            save_figure(figure, path)
            found.append(Shown(caption, path.read_bytes(), figure.get_figwidth() > WIDE))
        return found

    try:
        shown = {"": saved(overview_pictures(results))}
        for number, (name, result) in enumerate(results["benchmarks"].items(), 1):
            file = f"{number:02}-{re.sub(r'[^a-z0-9]+', '-', Path(name).stem.lower()).strip('-')}"
            shown[name] = saved(benchmark_pictures(file, result, kinds))
            shown[name] += saved(detail_pictures(file, result, kinds))
    except InputError as error:
        logger.warning("%s", error)
        return {}
    return shown
