"""The scorer by engines: the pipeline's results, for whole answers and for prefixes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from openprm.engines.specs import RewardSpec
from openprm.engines.step_requests import Prefix, PrefixRewards
from openprm.engines.step_scorer import StepScorer
from openprm.errors import Failure, InputError
from openprm.models.reward_checkpoint import load_reward_model, save_reward_model
from openprm.scoring.encoding import encode
from openprm.scoring.pipeline import load_scorer
from openprm.scoring.scored_answer import ScoredAnswer

from .. import tiny_models

QUESTION: Any = [{"role": "user", "content": "What is the sum of two and three?"}]
STEPS = ("First, add the numbers.\n", "Then, divide by two.\n", "The answer is seven.")
SERVED: Any = {"engine": "server", "servers": ("http://host/v1",)}
TEXTS = ["".join(STEPS), "The answer is five.", "One.\n" * 200, "Seven.\n\nThen.\nOr six"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    folder = tmp_path_factory.mktemp("model") / "reward"
    save_reward_model(*load_reward_model(base, separator="line", aggregation="mean", suffix="The"), folder)
    return folder


@pytest.fixture(scope="module")
def scorer(model: Path) -> StepScorer:
    return StepScorer.load(RewardSpec(str(model)))


def rewarded(scorer: StepScorer, *prefixes: Prefix) -> list[PrefixRewards]:
    found = scorer.score(prefixes)
    assert all(isinstance(one, PrefixRewards) for one in found)
    return found  # type: ignore[return-value]


def failure(found: Any) -> Failure:
    assert isinstance(found, Failure)
    assert not found.transient
    return found


def test_rows_are_scored_as_by_the_pipeline(scorer: StepScorer, model: Path):
    rows = [{"question": QUESTION, "response": text} for text in TEXTS]
    expected = load_scorer(str(model))(rows)
    assert (scorer.settings.separator, scorer.settings.aggregation) == ("line", "mean")
    for found, output in zip(scorer.score_rows(rows), expected, strict=True):
        assert isinstance(found, ScoredAnswer)
        assert (found.steps, found.aggregation, found.truncated) == (
            output["steps"],
            output["aggregation"],
            output["truncated"],
        )
        assert found.step_rewards == pytest.approx(output["step_rewards"], abs=1e-4)
        assert found.score == pytest.approx(output["score"], abs=1e-4)
    assert [output["truncated"] for output in expected] == [False, False, True, False]


@pytest.mark.parametrize("name", ["llama", "gpt2", "mpt", "bert"])
@pytest.mark.parametrize("pad_token", ["</s>", None])
def test_rows_are_scored_as_by_the_pipeline_whatever_the_padding_token(
    tmp_path: Path, name: str, pad_token: str | None
):
    tokenizer = tiny_models.tokenizer(pad_token=pad_token)
    model = tiny_models.model(name, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    tiny_models.saved(tmp_path, model, tokenizer)
    rows = [{"question": QUESTION, "response": "".join(STEPS[:size]).replace("\n", ".\n")} for size in (1, 3)]
    found = StepScorer.load(RewardSpec(str(tmp_path))).score_rows(rows)
    for one, output in zip(found, load_scorer(str(tmp_path))(rows), strict=True):
        assert isinstance(one, ScoredAnswer)
        assert one.step_rewards == pytest.approx(output["step_rewards"], abs=1e-4)
        assert one.score == pytest.approx(output["score"], abs=1e-4)


def test_what_cannot_be_scored_leaves_the_others(scorer: StepScorer):
    strange: Any = [{"role": "user", "content": 5}]
    empty, long, odd, good = scorer.score_rows(
        [
            {"question": QUESTION, "response": " \n"},
            {"question": QUESTION, "response": "word " * 400},
            {"question": strange, "response": "Five."},
            {"question": "What?", "response": "Five."},
        ]
    )
    assert failure(empty).reason == "the response is empty"
    assert scorer.score([Prefix(QUESTION, (" \n",)), Prefix(QUESTION, ())]) == [empty, empty]
    assert "reads at most 256" in failure(long).reason
    assert failure(odd).reason.startswith("message 0 of the question is")
    assert isinstance(good, ScoredAnswer)
    assert scorer.score_rows([]) == []


def test_the_rewards_of_a_prefix_are_those_of_the_whole(scorer: StepScorer):
    (whole,) = rewarded(scorer, Prefix(QUESTION, STEPS))
    assert len(whole.rewards) == 3
    for known in range(4):
        (rest,) = rewarded(scorer, Prefix(QUESTION, STEPS, known))
        assert rest.rewards == pytest.approx(whole.rewards[known:], abs=1e-4)
    (first,) = rewarded(scorer, Prefix(QUESTION, STEPS[:1]))
    assert first.rewards == pytest.approx(whole.rewards[:1], abs=1e-4)


def test_tokens_are_counted_once(scorer: StepScorer, model: Path):
    tokenizer = load_scorer(str(model)).tokenizer
    sequences = [tuple(encode(tokenizer, QUESTION, "".join(STEPS[: i + 1]), "The")) for i in range(3)]
    every, last, none = rewarded(scorer, *(Prefix(QUESTION, STEPS, known) for known in (0, 2, 3)))
    prefixes = {sequence[: end + 1] for sequence in sequences for end in range(len(sequence))}
    assert every.n_tokens == len(prefixes)
    assert last.n_tokens == len(sequences[-1])
    assert (none.rewards, none.n_tokens) == ((), 0)
    assert [one.n_tokens for one in rewarded(scorer, *[Prefix(QUESTION, STEPS)] * 3)] == [every.n_tokens] * 3


def test_steps_that_do_not_fit(scorer: StepScorer):
    long = ("One.\n", "word " * 400, "Two.")
    (found,) = rewarded(scorer, Prefix(QUESTION, long))
    assert len(found.rewards) == 1
    assert "up to step 2" in failure(scorer.score([Prefix(QUESTION, long, 1)])[0]).reason


def test_what_is_given_goes_before_what_is_recorded(model: Path):
    scorer = StepScorer.load(RewardSpec(str(model)), separator=". ", aggregation="last")
    (found,) = scorer.score_rows([{"question": QUESTION, "response": "Two. Three"}])
    assert isinstance(found, ScoredAnswer)
    assert found.steps == ["Two. ", "Three"]
    assert found.score == found.step_rewards[-1]
    with pytest.raises(ValueError, match="unknown aggregation"):
        StepScorer.load(RewardSpec(str(model)), aggregation="median")


def test_models_that_cannot_score(base: Path, tmp_path: Path):
    made: Any
    made, tokenizer = load_reward_model(base)
    made.score.weight.data.fill_(math.nan)
    save_reward_model(made, tokenizer, tmp_path)
    (found,) = StepScorer.load(RewardSpec(str(tmp_path))).score([Prefix(QUESTION, STEPS)])
    assert failure(found).reason == "the reward is nan"
    tokenizer.chat_template = None
    tiny_models.saved(tmp_path / "bare", made, tokenizer)
    with pytest.raises(InputError, match=r"chat_template\.jinja"):
        StepScorer.load(RewardSpec(str(tmp_path / "bare")))


@pytest.mark.parametrize(
    ("message", "spec"),
    [
        ("unknown engine 'jax'", {"model": "m", "engine": "jax"}),
        ("needs the addresses", {"model": "m", "engine": "server"}),
        ("dtype is chosen where the servers are started", {"model": "a/b", **SERVED, "dtype": "bfloat16"}),
        ("give the checkpoint", {"model": "reward", **SERVED}),
        ("hf_token", {"model": "m", "options": {"hf_token": "x"}}),
        ("nonsense", {"model": "m", "options": {"nonsense": 1}}),
        ("revision is no engine option, but a parameter", {"model": "m", "options": {"revision": "main"}}),
    ],
)
def test_specs_that_are_refused(message: str, spec: dict[str, Any]):
    with pytest.raises(InputError, match=message):
        RewardSpec(**spec).make()


def test_where_the_settings_of_a_spec_come_from():
    served = RewardSpec("/models/reward", **SERVED, checkpoint="a/b", revision="main")
    assert served.identity() == "a/b@main"
    assert RewardSpec("a/b").identity() == "a/b"
