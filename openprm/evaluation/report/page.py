"""Writes the results of an evaluation on benchmarks, with tables and a page that shows all, into its folder.

The page is one HTML file that needs nothing else, to be opened from a disk. Names of subsets and benchmarks
are untrusted: they are escaped, and a content security policy lets nothing be run or loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...figure import save_figure
from ...text import printable
from .plots import Picture, benchmark_pictures, overview_pictures
from .tables import benchmark_tables, document, facts, opening, remarks

RESULTS, TABLES, PAGE, PICTURES = "results.json", "tables.md", "report.html", "pictures"
_WIDE = 8  # inches; narrower pictures stand beside each other

logger = logging.getLogger(__name__)


def write_report(results: Mapping[str, Any], folder: Path, command: str) -> None:
    """Writes `RESULTS`, `TABLES`, `PAGE` and the folder `PICTURES`; `command` is what makes them again.

    Equal results give equal files. Without matplotlib there are no pictures, and a warning says why.
    """
    # a number that is not there (NaN, or an infinite one) is null
    results = json.loads(json.dumps(results), parse_constant=lambda name: None)
    (folder / RESULTS).write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    (folder / TABLES).write_text(document(results), "utf-8")
    pictures = {}
    try:
        pictures[""] = _saved(overview_pictures(results), folder / PICTURES)
        for number, (name, result) in enumerate(results["benchmarks"].items(), 1):
            file = f"{number:02}-{re.sub(r'[^a-z0-9]+', '-', Path(name).stem.lower()).strip('-')}"
            pictures[name] = _saved(benchmark_pictures(file, result, results["models"]), folder / PICTURES)
    except InputError as error:
        logger.warning("%s", error)
    (folder / PAGE).write_text(page(results, command, pictures), "utf-8")


def _saved(pictures: Iterable[Picture], folder: Path) -> list[dict[str, Any]]:
    """What the page shows of pictures, each of which is an SVG file in the folder too."""
    shown = []
    for name, caption, figure in pictures:
        folder.mkdir(exist_ok=True)
        save_figure(figure, folder / f"{name}.svg")
        source = base64.b64encode((folder / f"{name}.svg").read_bytes()).decode()
        wide = figure.get_figwidth() > _WIDE
        shown.append({"caption": caption, "source": f"data:image/svg+xml;base64,{source}", "wide": wide})
    return shown


def page(results: Mapping[str, Any], command: str, pictures: Mapping[str, Any]) -> str:
    """The page as HTML; pictures: by the name of a benchmark, "" are those of all."""
    from jinja2 import Environment, StrictUndefined

    template, style = (
        files("openprm.evaluation.report").joinpath(f"report.{kind}").read_text("utf-8") for kind in ("html.j2", "css")
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # of texts, not yet escaped, what a browser would not show is written out
    environment.finalize = lambda value: printable(value) if type(value) is str else value
    environment.globals |= {"facts": facts, "benchmark_tables": benchmark_tables}
    return environment.from_string(template).render(
        results=results,
        command=command,
        remarks=remarks(results),
        tables=opening(results),
        pictures=pictures,
        style=style,
        style_hash=f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}",
    )
