"""The page of an evaluation: tables and pictures in one HTML file that needs nothing else, to be opened from a disk.

Names of models, subsets and benchmarks are untrusted: they are escaped, and a content security policy lets nothing be
run or loaded.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from ...text import printable
from .remarks import remarks
from .tables import benchmark_tables, facts, models, overview


class Shown(NamedTuple):
    """A picture as SVG, with the words that are below it; a `wide` one takes the whole width."""

    caption: str
    svg: bytes
    wide: bool

    @property
    def source(self) -> str:
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}"


def page(results: Mapping[str, Any], command: str, pictures: Mapping[str, Sequence[Shown]]) -> str:
    """The page as HTML; equal results give equal texts.

    command: what makes the results again. pictures: by the name of a benchmark; "" are those of all.
    """
    from jinja2 import Environment, StrictUndefined

    resources = files("openprm.evaluation.report")
    style = resources.joinpath("report.css").read_text("utf-8")
    # what is neither escaped yet nor shown by a browser is written out
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    template = environment.from_string(resources.joinpath("report.html.j2").read_text("utf-8"))
    return template.render(
        title="Evaluation of " + ", ".join(results["models"]),
        command=command,
        remarks=remarks(results),
        tables=[overview(results), models(results)],
        pictures=pictures.get("", ()),
        benchmarks=[
            {
                "title": result["title"],
                "facts": facts(name, result),
                "tables": benchmark_tables(result, results["models"]),
                "pictures": pictures.get(name, ()),
            }
            for name, result in results["benchmarks"].items()
        ],
        style=style,
        style_hash=f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}",
    ).lstrip()
