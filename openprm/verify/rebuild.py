"""Make what was published again, from what was published before it, with the parameters that its manifest records.

What a manifest says is data of others: no name from it becomes a path, and no code of others is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ..data.candidate_source import CandidateSource
from ..errors import InputError
from ..hub.lookup import find_model, find_part
from ..hub.publication import MODEL, Publication, part_hash, part_rows, restore
from ..hub.repository import Missing, Repository, download
from ..rewards.base import UNPARSABLE, Rewarder
from ..rewards.registry import rewarder_from
from ..runs.dataset import clear, finish_dataset, write_shards
from ..runs.manifest import run_stage
from ..schema import Candidate
from ..stages.datasets import CANDIDATES_PER_SHARD, make_pairs, make_trees
from ..stages.evaluate import evaluate_models
from ..stages.reward import reward_candidates
from ..stages.score import score_candidates
from ..trees.pairs import MinGap, PairParameters
from ..trees.similarity import EDIT_SIMILARITIES
from ..trees.tree import MergeParameters
from .claims import recorded_hash


class NotRemade(InputError):
    """By its nature this cannot be made again, whatever is published."""


@contextmanager
def _needed() -> Iterator[None]:
    """What is wrong with what something was made of is no word on the thing itself."""
    try:
        yield
    except InputError as error:
        raise Missing(str(error)) from error


def remake(publication: Publication, part: str, folder: Path, num_proc: int = 1) -> Path:
    """A split of trees, pairs or rewarded candidates, made again: the folder of the stage, below `folder`.

    Work that is there already is not done again. Raises NotRemade where it never can be made again, Missing where
    what it takes is not there, and InputError (or what a value of a wrong type raises) where its manifest does not
    record what it should.
    """
    return {"candidates": _candidates, "trees": _trees, "pairs": _pairs}[publication.kind](
        publication, part, folder, num_proc
    )


def restored(publication: Publication, part: str, folder: Path) -> Path:
    """The folder of a part's stage, below `folder`."""
    out = folder / f"{publication.kind}-{part_hash(publication, part)[:16]}"
    restore(publication, part, out)
    return out


def _out(publication: Publication, part: str, folder: Path) -> Path:
    return folder / f"{publication.kind}-{part_hash(publication, part)[:16]}-again"


def _before(publication: Publication, inputs: Mapping[str, Any], kind: str, folder: Path) -> Path:
    """The dataset that an input was, restored from the owner's repository of that kind."""
    if kind not in inputs:
        raise InputError(f"it was not made of {kind}, but of {', '.join(inputs) or 'nothing that is recorded'}")
    content = recorded_hash(inputs[kind], kind)
    with _needed():
        found, part = find_part(publication.repository.sibling(kind), content)
        if found.kind != kind:
            raise InputError(f"{found.repository} is no repository of {kind}, but of {found.kind}")
        return restored(found, part, folder)


def _trees(publication: Publication, part: str, folder: Path, num_proc: int) -> Path:
    manifest = publication.parts[part]
    parameters = manifest["parameters"]
    if parameters["similarity"] not in EDIT_SIMILARITIES:
        raise Missing(f"its similarity, {parameters['similarity']!r}, is none of this package's")
    candidates = _before(publication, manifest["inputs"], "candidates", folder)
    names = ("separator", "similarity", "threshold", "distinct_numbers")
    out = _out(publication, part, folder)
    make_trees(
        CandidateSource(str(candidates), reward_name=parameters.get("reward_name")),
        out,
        MergeParameters(**{name: parameters[name] for name in names}),
        separators=parameters["separators"],
        num_proc=num_proc,
    )
    return out


def _pairs(publication: Publication, part: str, folder: Path, num_proc: int) -> Path:
    manifest = publication.parts[part]
    parameters = manifest["parameters"]
    if "preferences" in manifest["inputs"]:
        recorded_hash(manifest["inputs"]["preferences"], "preferences")
        raise NotRemade("these pairs were not made of trees, but of preferences that others gave")
    trees = _before(publication, manifest["inputs"], "trees", folder)
    out = _out(publication, part, folder)
    make_pairs(
        trees,
        out,
        MinGap.parse(parameters["min_gap"]),
        PairParameters(**{name: parameters[name] for name in PairParameters.__dataclass_fields__}),
        reward_name=parameters["reward_name"],
        shuffle_rewards=parameters["shuffle_rewards"],
    )
    return out


def _candidates(publication: Publication, part: str, folder: Path, num_proc: int) -> Path:
    """The candidates without the reward that their stage gave them, rewarded again."""
    manifest = publication.parts[part]
    if manifest["stage"] == "sampling":
        raise NotRemade("these are samples as they were drawn, and nothing is sampled again")
    if manifest["stage"] != "rewards":
        raise NotRemade("their rewards were given with the responses, not computed")
    name = manifest["parameters"]["name"]
    rewarder = _rewarder(publication, manifest, folder)
    bare = _out(publication, part, folder).with_name(f"bare-{part_hash(publication, part)[:16]}")

    def work(unfinished: Path) -> dict[str, Any]:
        clear(unfinished)
        rows = (_without(row, name) for row in part_rows(publication, part))
        return finish_dataset(
            unfinished, Candidate, "candidates", write_shards(unfinished, rows, Candidate, CANDIDATES_PER_SHARD), {}
        )

    # forced: the rows that lie here now are meant, whatever their manifest says
    run_stage(bare, "candidates", {"without": name}, {}, work, force=True)
    out = _out(publication, part, folder)
    with _needed() if _is_model(manifest) else nullcontext():  # which this machine may not be able to run
        reward_candidates(CandidateSource(str(bare)), rewarder, out, num_proc=num_proc, allow_failures=True)
    return out


def _is_model(manifest: Mapping[str, Any]) -> bool:
    return manifest["parameters"]["reward"].get("kind") == "model"


def _rewarder(publication: Publication, manifest: Mapping[str, Any], folder: Path) -> Rewarder:
    described = manifest["parameters"]["reward"]
    model = None
    if _is_model(manifest) and not described["trust_remote_code"]:
        model = _reward_model(publication, manifest, folder)
    rewarder = rewarder_from(described, manifest["parameters"]["name"], model)
    if rewarder is None:
        how = described.get("kind") or ("judge" if "judge" in described else "unknown")
        raise NotRemade(f"its rewards cannot be computed again (kind: {how})")
    return rewarder


def _reward_model(publication: Publication, manifest: Mapping[str, Any], folder: Path) -> Path:
    described = manifest["parameters"]["reward"]
    if described["revision"]:  # of the Hub
        owner, _, name = described["model"].partition("/")
        return download(Repository(owner, name, described["revision"]), "model", None)
    recorded = manifest["inputs"]["model"]
    content = recorded_hash(recorded, "model")
    with _needed():
        return restored(*find_model(publication.repository, recorded["name"], content), folder)


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    rewards = [reward for reward in row["rewards"] if reward["name"] != name]
    # a mark that another reward may have left stays: which one did is not recorded
    marks = row["marks"] if rewards else [mark for mark in row["marks"] if mark != UNPARSABLE]
    return {**row, "rewards": rewards, "marks": marks}


def measure_again(publication: Publication, folder: Path) -> dict[str, Any]:
    """The manifest of a model's published evaluation, measured again: of this model, and of what needs none.

    Raises Missing where the candidates that it was measured on cannot be found, InputError as `remake` does.
    """
    evaluation = publication.manifest["evaluation"]
    candidates = _before(publication, evaluation["inputs"], "candidates", folder)
    content = part_hash(publication, MODEL)
    model = restored(publication, MODEL, folder)
    scores = {}
    for number, (name, scored) in enumerate(evaluation["models"].items()):
        if scored is not None and scored["hash"] == content:
            if engine := scored["parameters"].get("engine"):
                raise Missing(f"its scores {name!r} are of another engine or dtype, {engine}, which is not tried here")
            scores[name] = folder / f"scores-{content[:16]}-{number}"
            score_candidates(
                CandidateSource(str(candidates)),
                model,
                scores[name],
                aggregation=scored["parameters"]["aggregation"],
                separator=scored["parameters"]["separator"],
            )
    if not scores:
        raise InputError("its evaluation does not say how this model was scored")
    parameters = evaluation["parameters"]
    names = ("aggregations", "answer_pattern", "equivalence", "seed")
    return evaluate_models(
        candidates, scores, folder / f"evaluation-{content[:16]}", **{name: parameters[name] for name in names}
    )
