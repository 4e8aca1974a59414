"""Benchmarks of preference pairs: the chosen response should have the highest reward (paper, sections 4.3, 5.1, C).

The arithmetic is declared, not coded by a benchmark's name: subsets are averaged into sections by declared weights,
and sections into one score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from ...data.paper_datasets import PAIR_SOURCES
from ...data.preferences import PreferenceColumns, read_declared_pairs, to_pair
from ...data.values import question_id, to_text
from ...errors import Failure, InputError
from ...runs.declaration import nearest
from ..bootstrap import OfWeights, Statistic, mean, weighted_sum
from .declaration import Benchmark
from .items import Item, Measured, Response
from .ties import tied_prompt, ties_score

_COLUMNS = {"question": "prompt", "chosen": "chosen", "rejected": "rejected"}
_SIDES = ({"chosen", "rejected"}, {"first", "second", "better"})
_PARTS = ("question", "subset", "id", *sorted(set.union(*_SIDES)))


class Pairs(Benchmark, kind="pairs"):
    """Rows with a question, and chosen and rejected responses.

    columns: `chosen` and `rejected` (each a text, a conversation whose last message is the answer, or a list of
    texts), or `first`, `second` and `better`, which says 1 or 2; `question` (without it the conversations begin with
    it), `subset`, and `id`, which is else the row's number. source: instead of columns, pairs as
    `openprm.data.paper_datasets` makes them of that dataset; rows that rate both alike are left out. sections: by
    section the weights of its subsets; without sections every pair counts the same. weights: of sections in the score,
    where not 1. tie: what a right response gets that shares the highest reward with others, nothing ("loss") or its
    share ("shared"). ties: the subset with several right responses a prompt, which is measured by `ties_score`.

    A pair with a response that could not be rewarded is lost.
    """

    columns: dict[str, str] = Field(_COLUMNS)
    source: str | None = None
    sections: dict[str, dict[str, float]] = Field({})
    weights: dict[str, float] = Field({})
    tie: Literal["loss", "shared"] = "loss"
    ties: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_source(cls, values: dict[str, Any]) -> dict[str, Any]:
        source = PAIR_SOURCES.get(values.get("source", ""))
        if source is None:
            return values
        said = {name: getattr(source, name) for name in ("hub", "revision", "license", "homepage", "citation")}
        return {"columns": {}, **said, **values}

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str | None) -> str | None:
        if source is not None and source not in PAIR_SOURCES:
            raise ValueError(f"no declared dataset{nearest(source, PAIR_SOURCES)}")
        return source

    @field_validator("columns")
    @classmethod
    def _known_parts(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := [part for part in columns if part not in _PARTS]:
            raise ValueError(f"there is no part {unknown[0]!r}{nearest(unknown[0], _PARTS)}")
        if columns and not any(some <= columns.keys() for some in _SIDES):
            raise ValueError("give the columns of chosen and rejected, or of first, second and better")
        return columns

    @field_validator("weights")
    @classmethod
    def _known_sections(cls, weights: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        if unknown := [name for name in weights if name not in info.data.get("sections", {})]:
            raise ValueError(f"there is no section {unknown[0]!r}")
        return weights

    def read(self, place: str) -> Iterator[Item | Failure]:
        if self.source is None:
            yield from super().read(place)
            return
        counts: Counter[str] = Counter()
        source = PAIR_SOURCES[self.source]
        path = None if place == self.place() else place
        pairs = read_declared_pairs(replace(source, split=self.split or source.split), path, counts)
        for number, pair in enumerate(pairs, 1):
            if isinstance(pair, Failure):
                yield pair
            else:
                sides = (Response(pair["chosen"]), Response(pair["rejected"]))
                facts = {"subset": ""}
                yield Item(f"pair {number}", pair["question"], sides, pair["prompt_id"], facts)
        tie = Failure("both responses are rated the same", "none is chosen, so nothing is measured", key=place)
        yield from [tie] * counts["ties"]

    def items(self, number: int, row: Mapping[str, Any]) -> Sequence[Item]:
        a, b = self._sides(row)
        columns = PreferenceColumns(self.columns.get("question"), a, b)
        chosen, rejected = _listed(row.get(a)), _listed(row.get(b))
        pairs = [to_pair({**row, a: right, b: wrong}, columns, "") for right in chosen for wrong in rejected]
        if not pairs:
            raise Failure("there is no chosen or no rejected response", "leave the row out")
        question = pairs[0]["question"]
        texts = [pair["chosen"] for pair in pairs[:: len(rejected)]] + [
            pair["rejected"] for pair in pairs[: len(rejected)]
        ]
        subset = to_text(row, self.columns.get("subset")) or ""
        name = to_text(row, self.columns.get("id")) or f"row {number}"
        prompt = tied_prompt(name) if subset and subset == self.ties else question_id(question)
        facts = {"subset": subset, "right": len(chosen)}
        return [Item(name, question, tuple(map(Response, texts)), prompt, facts)]

    def _sides(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """The columns of the chosen and of the rejected responses."""
        if "better" not in self.columns:
            return self.columns["chosen"], self.columns["rejected"]
        first, second, better = (self.columns[part] for part in ("first", "second", "better"))
        if (number := to_text(row, better)) not in ("1", "2"):
            raise Failure(f"{better!r} is {number!r}", "say which is better, 1 or 2")
        return (first, second) if number == "1" else (second, first)

    def arithmetic(self, items: Sequence[Item]) -> str:
        """Raises InputError where no item is in a declared section."""
        there = {item.facts["subset"] for item in items}
        tie = "a tie is a loss" if self.tie == "loss" else "a tie is shared"
        if not self.sections:
            return f"the share of pairs whose chosen response has the higher reward; {tie}"
        present = [name for name, subsets in self.sections.items() if there & subsets.keys()]
        if not present:
            raise InputError(f"{self.name}: no row is of a subset in its sections; check the column of the subset")
        named = [name + (f" (weight {self.weights[name]:g})" if name in self.weights else "") for name in present]
        absent = [name for name in self.sections if name not in present]
        outside = sorted(there - {subset for subsets in self.sections.values() for subset in subsets})
        said = [f"the mean of {', '.join(named)}, each of which is the mean of its subsets by their weights", tie]
        said += [f"without {', '.join(absent)}"] if absent else []
        said += [f"not in it: {', '.join(map(repr, outside))}"] if outside else []
        return "; ".join(said)

    def statistics(self, measured: Measured) -> Iterator[Statistic]:
        scores = measured.scores()
        right = [item.facts.get("right", 1) for item in measured.items]
        subsets = np.array([item.facts["subset"] for item in measured.items], dtype=object)
        credit = np.array([self._credit(*one) for one in zip(scores, right, strict=True)])
        found = {
            subset: mean(np.where(subsets == subset, credit, np.nan)) for subset in sorted({*subsets.tolist()} - {""})
        }
        if self.ties in found:
            names = [item.id if item.facts["subset"] == self.ties else "" for item in measured.items]
            found[self.ties] = ties_score(names, scores, right), found[self.ties][1]
        if self.sections:
            sections = {
                name: _averaged([(*found[subset], weight) for subset, weight in subsets.items() if subset in found])
                for name, subsets in self.sections.items()
                if found.keys() & subsets.keys()
            }
            of, n = _averaged([(*one, self.weights.get(name, 1.0)) for name, one in sections.items()])
            yield Statistic(self.headline, of, n)
            yield from (Statistic(self.headline, *one, name) for name, one in sections.items())
        else:
            yield Statistic(self.headline, *mean(credit))
        yield from (Statistic("accuracy", *one, name) for name, one in found.items() if name not in self.sections)

    def _credit(self, scores: Sequence[float], right: int) -> float:
        if not np.isfinite(scores).all():
            return 0.0
        best = np.array(scores) == max(scores)
        if self.tie == "shared":
            return float(best[:right].sum() / best.sum())
        return float(min(scores[:right]) > max(scores[right:]))


def _listed(value: Any) -> list[Any]:
    """A list of texts as it is; else a list of the one text or conversation."""
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else [value]


def _averaged(parts: Sequence[tuple[OfWeights, int, float]]) -> tuple[OfWeights, int]:
    """The weighted mean of numbers over other items, and over how many it is."""
    total = sum(weight for *_, weight in parts)
    return weighted_sum([(of, weight / total) for of, _, weight in parts]), sum(n for _, n, _ in parts)
