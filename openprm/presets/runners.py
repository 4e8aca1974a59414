"""The kinds of stages that a preset may name by `run`, and what runs each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError

Folder = Path


def _prompts(out: Folder, source: str | None = None, prompts: str | None = None, **parameters: Any) -> dict[str, Any]:
    if source == "dial":
        from .toy_stages import make_prompts as make_dial_prompts

        return make_dial_prompts(out, **parameters)
    from ..data.prompts import DeclaredPrompts, PromptFile
    from ..stages.prompts import make_prompts

    if prompts is not None:
        return make_prompts(PromptFile(prompts, source=source), out, **parameters)
    if source is None:
        raise InputError("prompts need a `source` by name, or `prompts`: a file or an earlier stage")
    return make_prompts(DeclaredPrompts(source), out, **parameters)


def _preferences(out: Folder, source: str, **options: Any) -> dict[str, Any]:
    from ..stages.prompts import make_source_pairs

    return make_source_pairs(source, out, **options)


def _convert(out: Folder, model: str, **options: Any) -> dict[str, Any]:
    from ..models.internlm2 import convert_internlm2

    return convert_internlm2(model, out, **options)


def _policy(out: Folder, **parameters: Any) -> dict[str, Any]:
    from .toy_stages import make_policy

    return make_policy(out, **parameters)


def _sample(
    out: Folder,
    prompts: str,
    model: str,
    engine: str = "transformers",
    engine_options: Mapping[str, Any] | None = None,
    servers: Sequence[str] = (),
    revision: str | None = None,
    dtype: str = "auto",
    prompts_per_shard: int = 16,
    stop: Sequence[str] = (),
    **sampling: Any,
) -> dict[str, Any]:
    from ..engines.base import Sampling
    from ..engines.specs import GeneratorSpec
    from ..stages.sample import sample_candidates

    spec = GeneratorSpec(model, engine, revision, dtype, servers=tuple(servers), options=engine_options or {})
    parameters = Sampling(stop=tuple(stop), **sampling)
    return sample_candidates(
        prompts, spec, out, parameters, prompts_per_shard=prompts_per_shard, replace_finished=True
    )


def _reward(out: Folder, candidates: str, by: str, model: str | None = None, **options: Any) -> dict[str, Any]:
    from ..data.candidate_source import CandidateSource
    from ..rewards.registry import make_rewarder
    from ..stages.reward import reward_candidates

    stage = {key: options.pop(key) for key in ("num_proc", "allow_failures") if key in options}
    rewarder, inputs = make_rewarder(by, model=model, **options)
    return reward_candidates(CandidateSource(candidates), rewarder, out, inputs=inputs, replace_finished=True, **stage)


def _trees(out: Folder, candidates: str, reward_name: str | None = None, **parameters: Any) -> dict[str, Any]:
    from ..data.candidate_source import CandidateSource
    from ..stages.datasets import make_trees
    from ..trees.tree import MergeParameters

    return make_trees(CandidateSource(candidates, reward_name=reward_name), out, MergeParameters(**parameters))


def _pairs(
    out: Folder, trees: str, min_gap: str, shuffle_rewards: int | None = None, **parameters: Any
) -> dict[str, Any]:
    from ..stages.datasets import make_pairs
    from ..trees.pairs import MinGap, PairParameters

    gap = MinGap.parse(str(min_gap))
    return make_pairs(trees, out, gap, PairParameters(**parameters), shuffle_rewards=shuffle_rewards)


def _train(
    out: Folder,
    pairs: Mapping[str, str],
    base: str,
    levels: Sequence[str] = ("process", "outcome"),
    eval_pairs: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    from ..stages.train import train_model

    return train_model(pairs, base, out, options, levels=levels, eval_pairs=eval_pairs)


def _score(
    out: Folder,
    candidates: str,
    model: str,
    engine: str = "transformers",
    engine_options: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    revision: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    from ..data.candidate_source import CandidateSource
    from ..engines.specs import RewardSpec
    from ..stages.score import score_candidates

    spec = RewardSpec(model, engine, revision, dtype, options=engine_options or {})
    return score_candidates(CandidateSource(candidates), spec, out, replace_finished=True, **options)


def _generate(
    out: Folder,
    prompts: str,
    model: str,
    method: str,
    budget: int = 16,
    prm: str | None = None,
    aggregation: str | None = None,
    separator: str | None = None,
    calibration: str | None = None,
    early_rejection: float | None = None,
    engine: str = "transformers",
    engine_options: Mapping[str, Any] | None = None,
    dtype: str = "auto",
    revision: str | None = None,
    prm_engine: str = "transformers",
    prm_options: Mapping[str, Any] | None = None,
    prm_dtype: str = "float32",
    prm_revision: str | None = None,
    prompts_per_shard: int = 64,
    **sampling: Any,
) -> dict[str, Any]:
    from dataclasses import replace

    from ..decoding.methods import Method
    from ..engines.base import Sampling
    from ..engines.specs import GeneratorSpec, RewardSpec
    from ..stages.search import generate_answers, read_rule

    spec = GeneratorSpec(model, engine, revision, dtype, options=engine_options or {})
    reward_spec = prm and RewardSpec(prm, prm_engine, prm_revision, prm_dtype, options=prm_options or {})
    chosen = Method(method, budget, aggregation)
    if early_rejection is not None:
        if not (calibration and reward_spec):
            raise InputError("early_rejection needs a `prm`, and scores for its `calibration`")
        chosen = replace(chosen, rule=read_rule(calibration, reward_spec, chosen, early_rejection, separator))
    return generate_answers(
        prompts,
        spec,
        reward_spec or None,
        out,
        chosen,
        Sampling(n=1, **sampling),
        separator=separator,
        prompts_per_shard=prompts_per_shard,
        replace_finished=True,
    )


def _scaling(
    out: Folder, candidates: str, scores: Mapping[str, str], answers: Mapping[str, str] | None = None, **options: Any
) -> dict[str, Any]:
    from ..stages.evaluate import evaluate_models

    return evaluate_models(candidates, scores, out, curve=True, answers=answers, **options)


def _evaluate(out: Folder, candidates: str, scores: Mapping[str, str], **options: Any) -> dict[str, Any]:
    from ..stages.evaluate import evaluate_models

    return evaluate_models(candidates, scores, out, **options)


def _publish(out: Folder, **folders: Any) -> dict[str, Any]:
    from ..push.layout import publish_locally

    return publish_locally(out, **folders)


#: By kind of stage: the names of its inputs, and what runs it.
RUNNERS: dict[str, tuple[tuple[str, ...], Callable[..., dict[str, Any]]]] = {
    "prompts": (("prompts",), _prompts),
    "preferences": ((), _preferences),
    "policy": ((), _policy),
    "convert": (("model",), _convert),
    "candidates": (("prompts", "model"), _sample),
    "reward": (("candidates", "model"), _reward),
    "trees": (("candidates",), _trees),
    "pairs": (("trees",), _pairs),
    "train": (("pairs", "base", "eval_pairs"), _train),
    "score": (("candidates", "model"), _score),
    "evaluate": (("candidates", "scores"), _evaluate),
    "generate": (("prompts", "model", "prm", "calibration"), _generate),
    "scaling": (("candidates", "scores", "answers"), _scaling),
    "publish": (("candidates", "trees", "pairs", "models", "evaluation"), _publish),
}
