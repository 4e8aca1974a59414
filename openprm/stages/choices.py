"""The stage that measures how well scores choose among the candidates of a prompt (paper, section 4.4), and with
`curve` what more samples bring (paper, figures 3 and 7)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from statistics import fmean
from typing import Any

from ..data.holdout import question_rank, read_trained_on
from ..errors import InputError
from ..evaluation.accuracy import bounds, choices, compare_groups, evaluate_selection, sizes
from ..evaluation.choices_plot import plot_evaluation
from ..evaluation.choices_tables import tables
from ..evaluation.correlation import followed
from ..evaluation.data import (
    RANDOM,
    ScoredPrompt,
    graded_by,
    grading_rule,
    measured_reward,
    random_groups,
    read_scored,
    read_search_answers,
    scored_by,
    ties_broken,
    unscored,
)
from ..evaluation.scaling import (
    early_rejection_rows,
    scaling_curve,
    search_differences,
    search_point,
    searches_of_kinds,
)
from ..evaluation.scaling_plot import plot_scaling
from ..evaluation.strength import STRONGEST, known_models, strongest, within_tiers
from ..evaluation.tables import markdown
from ..rewards import DEFAULT_PATTERN
from ..rewards.answer_equivalence import equivalence_of, labels
from ..runs.dataset import Rejections, most_common
from ..runs.declaration import input_path, nearest, parameter
from ..runs.folder import REJECTED, is_folder, read_rows
from ..runs.manifest import files_hash
from ..schema import Scored
from ..scoring.aggregation import DEFAULT_AGGREGATION
from ..scoring.units import DEFAULT_UNIT
from .shared_options import ReadsCandidates

logger = logging.getLogger(__name__)

PICTURE = "accuracy.png"


@dataclass(frozen=True, kw_only=True)
class Choices(ReadsCandidates, kind="choices"):
    """Measure how well scores choose among the candidates of a prompt; with --curve, what more samples bring.

    A response too long for a model, or that could not be scored at all, is chosen only where none was scored to its
    end, as in a search. Writes results.json and table.md, each number with a 95 % interval over prompts; with the
    curve also plots of accuracy by samples and, where candidates say how many tokens they have, by tokens.
    """

    candidates: str = input_path(
        "Held-out candidates, N a prompt, with golden or other rewards: a folder of openprm, a file or a dataset.",
        argument=True,
    )
    scores: dict[str, str] = input_path("NAME=FOLDER of `openprm score`; may be repeated.", {})
    kinds: dict[str, list[str]] = parameter(
        "KIND=MODEL,MODEL: models that differ only in their training seed are measured as one, by mean and range over "
        "the seeds, and compared with the other kinds; may be repeated.",
        {},
        flag="--kind",
    )
    aggregations: list[str] = parameter(
        "How step rewards become a score; may be repeated.", ["min", "mean", "last"], flag="--aggregation"
    )
    equivalence: str | None = parameter(
        "Which answers are equal in a vote: exact, option or math; default: as `openprm reward` graded them, and no "
        "votes where it did not.",
        None,
    )
    answer_pattern: str = parameter("Where exact answers stand: answer, stated or re:PATTERN.", DEFAULT_PATTERN)
    curve: bool = parameter("Also the accuracy with 1, 2, 4, ... N samples (paper, figures 3 and 7).", False)
    answers: dict[str, str] = input_path(
        "With --curve: NAME=FOLDER of `openprm search` for the same prompts; may be repeated.", {}
    )
    by: str | None = parameter("How these answers are graded: math, choice, ...; default: as the candidates.", None)
    early_risks: list[float] = parameter(
        "With --curve: risks of early rejection to measure.", [0.05, 0.1, 0.2], flag="--early-risk"
    )
    seed: int = parameter("Seed of what is sampled: subsets for votes, splits for early rejection.", 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.answers and not self.curve:
            raise InputError("answers of searches are points of the curve; ask for it (--curve), or leave them out")
        if self.equivalence:
            labels([], self.equivalence)  # raises for an unknown one

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Raises InputError where there is no reward to measure by, scores or answers are of other responses or
        prompts, answers are to a part of the prompts, there is no rule to grade them, or a kind names a model without
        scores.
        """
        candidates, scores, aggregations, seed = self.candidates, self.scores, self.aggregations, self.seed
        equal = self.equivalence or equivalence_of(graded_by(candidates))
        rule = grading_rule(candidates, self.by) if self.answers or self.by else None
        rejections = Rejections(folder / REJECTED, self.strict)
        rows = list(rejections.filter(self.candidate_source().read()))
        reward = measured_reward(rows, self.reward_name)
        read = read_scored(rows, scores, aggregations, reward, equal, self.answer_pattern, self.curve)
        prompts: list[ScoredPrompt] = list(rejections.filter(read))
        if not prompts:
            raise InputError(f"{candidates} has nothing to measure; " + most_common(rejections.counts))
        missing = unscored(prompts, scores)
        if nothing := [name for name, count in missing.items() if count == sum(len(one["rows"]) for one in prompts)]:
            raise InputError(
                f"{scores[nothing[0]]} has no score for any candidate of {candidates}; score these candidates"
            )
        ranks = {question_rank(prompt["rows"][0]["question"]) for prompt in prompts}
        for name, path in scores.items():
            if is_folder(path) and (leaked := ranks & read_trained_on(path)):
                raise InputError(
                    f"{len(leaked)} of {len(ranks)} questions were trained on by the model of {path} ({name}; but for "
                    "case, space and punctuation); measure on held-out ones, such as those of `openprm split`"
                )
        models = {name: scored_by(path) for name, path in scores.items()}
        kinds = _kinds(self.kinds, scores, aggregations)
        groups = {
            f"{kind}/{aggregation}": [f"{model}/{aggregation}" for model in entry["models"]]
            for kind, entry in kinds.items()
            for aggregation in aggregations
        }
        own = {f"{kind}/{entry['aggregation']}" for kind, entry in kinds.items()}
        chance = random_groups(aggregations)
        compared = [(group, f"{RANDOM}/{group.rpartition('/')[2]}") for group in groups]
        compared += [(b, a) for a, b in combinations(groups, 2)]
        groups = {**chance, **groups}
        made_by = known_models([[row["generator"]["model"] for row in prompt["rows"]] for prompt in prompts])
        baselines = {STRONGEST: strongest(prompts, made_by)} if made_by else {}
        chosen = choices(prompts, groups, baselines)
        differences = compare_groups(chosen, compared, bounds(prompts))
        lengths = [row["n_tokens"] for prompt in prompts for row in prompt["rows"]]
        tokens = None if None in lengths else fmean(lengths)
        metrics = evaluate_selection(prompts, groups, chosen)
        broken = {
            f"best of {sizes(prompts)}: {kind}/{one}": fmean(
                ties_broken(prompts, model, one) for model in entry["models"]
            )
            for kind, entry in kinds.items()
            for one in aggregations
        }
        metrics = [{**row, "ties_broken": broken.get(row["method"]) if row["tied"] else None} for row in metrics]
        results: dict[str, Any] = {
            "counts": {
                "prompts": len(prompts),
                "candidates": sizes(prompts),
                "tokens_per_candidate": tokens,
                "unscored": missing,
                "rejected": dict(rejections.counts),
            },
            "reward": reward,
            "kinds": kinds,
            "metrics": metrics,
            "differences": differences,
            "within_tiers": within_tiers(prompts, made_by, groups, compared) if made_by else None,
            "followed": followed(prompts, {name: some for name, some in groups.items() if name in own}),
            "equivalence": equal,
        }
        against = own | set(chance)

        def of_own(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            """Those of each kind by its own aggregation, which the manifest shows."""
            return [row for row in rows if row["group"] in own and row["against"] in against]

        made = {**results, "differences": of_own(differences), "models": models, "pictures": _picture(results, folder)}
        if equals := results["within_tiers"]:
            made["within_tiers"] = {**equals, "differences": of_own(equals["differences"])}
        if self.curve:
            ids, by_hash = [p["prompt_id"] for p in prompts], {m["hash"]: name for name, m in models.items() if m}
            searches = [
                read_search_answers(name, path, ids, rule, by_hash) for name, path in self.answers.items() if rule
            ]
            lowest, highest = bounds(prompts)
            results |= {
                "differences": differences
                + search_differences(searches)
                + searches_of_kinds(searches, kinds, chosen, highest - lowest),
                "samples": scaling_curve(prompts, groups, tokens, seed),
                "searches": [search_point(*search, prompts, seed) for search in searches],
                "early_rejection": [
                    row
                    for kind in kinds.values()
                    for row in early_rejection_rows(
                        prompts, kind["models"][0], kind["aggregation"], self.early_risks, seed, tokens is not None
                    )
                ],
            }
            made["pictures"] += plot_scaling(results, folder)
        (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
        (folder / "table.md").write_text(markdown(tables(results)), "utf-8")
        return {"files_hash": files_hash(folder), **made}


def _picture(results: Mapping[str, Any], folder: Path) -> list[str]:
    """Draws the accuracies; without matplotlib there is no picture, and a warning says why."""
    try:
        plot_evaluation(results, folder / PICTURE)
    except InputError as error:
        logger.warning("%s", error)
        return []
    return [PICTURE]


def grouped(kinds: Mapping[str, Sequence[str]], models: Iterable[str]) -> dict[str, list[str]]:
    """The models of each kind, in their order; one that no kind names is a kind of its own.

    Raises InputError where a kind names what is no model, or a model twice.
    """
    known = list(models)
    named = [model for some in kinds.values() for model in some]
    if unknown := [model for model in named if model not in known]:
        raise InputError(f"--kind names {unknown[0]!r}, which is no model's name{nearest(unknown[0], known)}")
    if twice := [model for model in named if named.count(model) > 1]:
        raise InputError(f"--kind names {twice[0]!r} twice; name each model once")
    of = {model: kind for kind, some in kinds.items() for model in some}
    return {of.get(model, model): list(kinds.get(of.get(model, ""), [model])) for model in known}


def _kinds(
    kinds: Mapping[str, Sequence[str]], scores: Mapping[str, str | Path], aggregations: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The models of each kind, with the aggregation that its scores name (or the first of those asked for) and their
    unit. Raises InputError where its models have several units."""
    found: dict[str, dict[str, Any]] = {}
    for kind, models in grouped(kinds, scores).items():
        rows = {model: row for model in models for row in islice(read_rows(scores[model], Scored), 1)}
        own = next((row["aggregation"] for row in rows.values()), DEFAULT_AGGREGATION)
        found[kind] = {
            "models": models,
            "aggregation": own if own in aggregations else aggregations[0],
            "unit": one_unit(kind, {model: row["unit"] for model, row in rows.items()}),
        }
    return found


def one_unit(kind: str, units: Mapping[str, str]) -> str:
    """The unit of the rewards of a kind, from those of its models. Raises InputError where they differ."""
    (first, unit), *others = units.items() or [("", DEFAULT_UNIT)]
    for model, other in others:
        if other != unit:
            raise InputError(
                f"the rewards of {first} are of the unit {unit!r}, those of {model} of {other!r}: these are not seeds "
                f"of one kind {kind!r}; measure them apart"
            )
    return unit
