"""Whether a model knows when not to answer: only the prompts are answered whose best response has a high score."""

from __future__ import annotations

from typing import Any

from ...decoding.selection import expected_best_of_n, vote_weights
from ..abstention import abstention, risk_by_coverage
from ..accuracy import PromptCandidates
from ..benchmarks.items import Measured
from ..bootstrap import Statistic
from .base import Probe, Views, golden


class Abstention(Probe):
    """The risk of best of N, where the highest score is the confidence; the DCS of candidates weighted as in a vote.

    Not of items with one response, or rewards beyond 0 and 1. What states no answer counts as none given in the DCS,
    since nobody was asked to abstain.
    """

    def statistics(self, views: Views) -> list[Statistic]:
        if not (prompts := _prompts(views[""])):
            return []
        weights = [vote_weights(prompt["responses"], prompt["scores"][""]) for prompt in prompts]
        return abstention(prompts, *_confidence_and_risk(prompts), weights)

    def details(self, views: Views) -> Any:
        """The risk by coverage."""
        prompts = _prompts(views[""])
        return risk_by_coverage(*_confidence_and_risk(prompts)) if prompts else None


def _prompts(measured: Measured) -> list[PromptCandidates]:
    """All items, or none where they are not choices."""
    prompts = [
        PromptCandidates(
            responses=[response.text for response in item.responses],
            correct=golden(item),
            answers=item.facts.get("answers", [None] * len(item.responses)),
            scores={"": scores},
        )
        for item, scores in zip(measured.items, measured.scores(), strict=True)
    ]
    choices = all(len(one["correct"]) > 1 and all(0 <= value <= 1 for value in one["correct"]) for one in prompts)
    return prompts if choices else []


def _confidence_and_risk(prompts: list[PromptCandidates]) -> tuple[list[float], list[float]]:
    scored = [(prompt["scores"][""], prompt["correct"]) for prompt in prompts]
    return [max(scores) for scores, _ in scored], [1 - expected_best_of_n(*one) for one in scored]
