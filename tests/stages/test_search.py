"""Answering prompts by searching, with real small models: the stage, and the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import openprm
from openprm import cli
from openprm.decoding.loop import SearchResult
from openprm.decoding.methods import METHODS, Method
from openprm.decoding.searcher import Searcher
from openprm.engines.base import Sampling, prompt_seed
from openprm.engines.specs import GeneratorSpec, RewardSpec
from openprm.errors import Failure, InputError
from openprm.presets import toy_domain as tiny
from openprm.presets.toy_stages import ToyPrompts
from openprm.runs.folder import read_rows, rows_hash
from openprm.schema import Answer, Candidate, Prompt
from openprm.scoring.pipeline import load_scorer
from openprm.stages.sample import SampleResponses
from openprm.stages.score import Score
from openprm.stages.search import Search, read_rule
from tests.stage_runs import search

from .. import tiny_models
from ..folders import Killed, contents, dataset, nothing_local

SAMPLING = Sampling(n=1, temperature=1.15, max_new_tokens=48, seed=5)


@pytest.fixture(scope="module")
def prm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model with random weights that reads what the policy writes."""
    tokenizer = tiny.tokenizer()
    model = tiny_models.model(vocab_size=len(tokenizer), pad_token_id=0, bos_token_id=1, eos_token_id=2)
    model.config.openprm = {"separator": ".\n", "aggregation": "mean", "suffix": ""}
    return tiny_models.saved(tmp_path_factory.mktemp("prm") / "prm", model, tokenizer)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five prompts, two a shard in what follows: three shards."""
    folder = tmp_path_factory.mktemp("prompts") / "prompts"
    ToyPrompts(n=5, split="test").run(folder)
    return folder


@pytest.fixture
def generate(prompts: Path, policy: Path, prm: Path) -> Any:
    def call(out: Path, method: Method, prompts: Path = prompts, prm: Path = prm, **options: Any) -> Any:
        spec = RewardSpec(str(prm)) if method.uses_rewards else None
        return search(prompts, GeneratorSpec(str(policy)), spec, out, method, SAMPLING, prompts_per_shard=2, **options)

    return call


@pytest.mark.parametrize("name", METHODS)
def test_an_answer_to_each_prompt(name: str, tmp_path: Path, generate: Any, prompts: Path, prm: Path):
    manifest = generate(tmp_path / "out", Method(name, 4))
    rows = list(read_rows(tmp_path / "out", Answer))
    assert [row["prompt_id"] for row in rows] == [prompt["prompt_id"] for prompt in read_rows(prompts)]
    assert (manifest["rows"], manifest["row_hash"]) == (5, rows_hash(rows))
    assert set(manifest["inputs"]) == {"prompts", "model"} | ({"prm"} if name != "majority-vote" else set())
    counts = manifest["counts"]
    assert counts["prompts"] == 5
    assert counts["tokens"] == sum(row["generated_tokens"] for row in rows) > 5 * 4
    assert counts["scored_tokens"] == sum(row["scored_tokens"] for row in rows)
    for row in rows:
        assert (row["method"], row["budget"], row["sample_index"]) == (name, 4, 0)
        assert row["generator"]["seed"] == prompt_seed(5, row["prompt_id"])
        assert 0 < row["n_tokens"] <= min(48, row["generated_tokens"])
        assert ("truncated" in row["marks"]) == (row["finish_reason"] == "length")
        assert row["n_considered"] >= 1
    if name == "majority-vote":
        assert {
            (*row["steps"], *row["step_rewards"], row["score"], row["aggregation"], row["scored_tokens"])
            for row in rows
        } == {(None, None, 0)}
    else:  # rewarded as `openprm score` does
        asked = [{"question": row["question"], "response": row["response"]} for row in rows]
        for row, scored in zip(rows, load_scorer(str(prm))(asked), strict=True):
            assert row["steps"] == scored["steps"]
            assert row["step_rewards"] == pytest.approx(scored["step_rewards"], abs=1e-4)
            assert row["score"] == pytest.approx(scored["score"], abs=1e-4)
            assert row["aggregation"] == scored["aggregation"] == "mean"
    assert nothing_local(tmp_path / "out", tmp_path)


def test_settings_of_the_checkpoint_are_defaults_only(tmp_path: Path, generate: Any):
    manifest = generate(tmp_path / "out", Method("pbs", 4, "min"), separator="line")
    assert (manifest["parameters"]["aggregation"], manifest["parameters"]["separator"]) == ("min", "line")
    assert {row["aggregation"] for row in read_rows(tmp_path / "out")} == {"min"}
    own = generate(tmp_path / "own", Method("pbs", 4))["parameters"]
    assert (own["aggregation"], own["separator"]) == ("mean", ".\n")
    # the answers are candidates
    assert set(Candidate.__annotations__) < set(next(iter(read_rows(tmp_path / "out"))))


def test_a_killed_run_does_only_what_is_missing(tmp_path: Path, generate: Any, monkeypatch: pytest.MonkeyPatch):
    expected = generate(tmp_path / "whole", Method("pbs", 4))
    call, asked, killing = Searcher.__call__, [], [True]

    def counted(self: Searcher, questions: Any, *given: Any, **options: Any) -> Any:
        if killing and len(asked) == 1:
            killing.pop()
            raise Killed
        asked.append(len(questions))
        return call(self, questions, *given, **options)

    monkeypatch.setattr(Searcher, "__call__", counted)
    with pytest.raises(Killed):
        generate(tmp_path / "out", Method("pbs", 4))
    assert generate(tmp_path / "out", Method("pbs", 4)) == expected
    assert asked == [2, 2, 1]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_prompt_that_does_not_fit_is_listed(tmp_path: Path, prompts: Path, generate: Any):
    rows = list(read_rows(prompts))[:3]
    text = rows[2]["question"][0]["content"] * 30
    rows[2] |= {"prompt_id": "long", "question": [{"role": "user", "content": text}]}
    given = dataset(tmp_path / "given", Prompt, rows)
    assert generate(tmp_path / "out", Method("pbs", 4), given)["rows"] == 2
    assert "'long'" in (tmp_path / "out" / "rejected.jsonl").read_text()


def test_what_makes_no_search(tmp_path: Path, prompts: Path, policy: Path, prm: Path):
    spec, rewards = GeneratorSpec(str(policy)), RewardSpec(str(prm))
    server = GeneratorSpec("m", "server", servers=("http://localhost:1/v1",))
    greedy = Sampling(n=1, temperature=0, max_new_tokens=8)
    for language_model, reward_model, method, sampling, problem in [
        (spec, None, Method("pbs"), SAMPLING, "pbs needs a reward model"),
        (spec, rewards, Method("majority-vote"), SAMPLING, "needs no reward model"),
        (spec, rewards, Method("pbs"), greedy, "all answers to a prompt are alike"),
        (spec, RewardSpec(str(policy)), Method("pbs"), SAMPLING, "reward model"),
        (server, rewards, Method("pbs"), SAMPLING, "servers cannot continue"),
    ]:
        with pytest.raises(InputError, match=problem):
            search(prompts, language_model, reward_model, tmp_path / "out", method, sampling)
    for method, separator, problem in [
        (Method("pbs"), "lines", "did you mean line"),
        (Method("majority-vote"), "re:(", "not a regular expression"),
        (Method("pbs", 4, "prod"), None, "'prod' multiplies probabilities"),
        (Method("weighted-vote", 4, "prod"), None, "'prod' multiplies probabilities"),
    ]:
        made = Search(
            model=str(policy),
            prompts=str(prompts),
            prm=str(prm) if method.uses_rewards else None,
            method=method.name,
            aggregation=method.aggregation,
            separator=separator,
        )
        with pytest.raises(ValueError, match=problem):
            made.recorded()


# ---- Early rejection ----


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory, policy: Path, prm: Path) -> Path:
    """Six responses to each of twelve other prompts, scored."""
    folder = tmp_path_factory.mktemp("scores")
    ToyPrompts(n=12, split="train").run(folder / "prompts")
    sampled = SampleResponses(
        prompts=str(folder / "prompts"), model=str(policy), n=6, temperature=1.15, max_new_tokens=48
    )
    sampled.run(folder / "samples")
    Score(candidates=str(folder / "samples"), model=str(prm)).run(folder / "scores")
    return folder / "scores"


def test_early_rejection_saves_tokens(tmp_path: Path, generate: Any, scores: Path, prm: Path):
    plain = generate(tmp_path / "plain", Method("best-of-n", 6))
    rule = read_rule(scores, RewardSpec(str(prm)), Method("best-of-n", 6), 0.5)
    assert (rule.aggregation, rule.n_answers, rule.n_prompts, rule.risk) == ("mean", 6, 12, 0.5)
    manifest = generate(tmp_path / "out", Method("best-of-n", 6, rule=rule))
    assert manifest["counts"]["stopped"] > 0
    assert manifest["counts"]["tokens"] < plain["counts"]["tokens"]
    assert manifest["parameters"]["rule"]["threshold"] == rule.threshold


def test_a_rule_needs_enough_scores_of_the_same_model_and_steps(tmp_path: Path, scores: Path, prm: Path):
    spec, method = RewardSpec(str(prm)), Method("best-of-n", 6)
    assert read_rule(scores, spec, Method("best-of-n", 4), 0.5).n_answers == 4
    assert read_rule(scores, spec, method, 0.5, ".\n") == read_rule(scores, spec, method, 0.5)  # the model's own
    tiny_models.model(vocab_size=58).save_pretrained(tmp_path / "other")
    lines = tmp_path / "lines"
    Score(candidates=str(scores.parent / "samples"), model=str(prm), separator="line").run(lines)
    assert read_rule(lines, spec, method, 0.5, "line").n_answers == 6
    other = RewardSpec(str(tmp_path / "other"))
    for folder, model, budget, risk, separator, problem in [
        (scores, spec, 7, 0.5, None, "have 6 responses to a prompt; calibrate on 7"),
        (scores, spec, 6, 0.05, None, "12 prompts are too few"),
        (scores, other, 6, 0.5, None, "not given by"),
        (scores, spec, 6, 0.5, "line", r"steps that end at '\.\\n'.* at 'line'"),
        (lines, spec, 6, 0.5, None, r"steps that end at 'line'.* at '\.\\n'"),
    ]:
        with pytest.raises(InputError, match=problem):
            read_rule(folder, model, Method("best-of-n", budget), risk, separator)


# ---- A reward model too short for the answers ----


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, prm: Path) -> Path:
    """The reward model, with a context that holds the question and hardly a step."""
    folder = tmp_path_factory.mktemp("short") / "prm"
    shutil.copytree(prm, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 40}))
    return folder


def test_answers_that_are_not_rewarded_to_their_end_are_counted(tmp_path: Path, short: Path, generate: Any):
    method = Method("best-of-n", 4)
    manifest = generate(tmp_path / "out", method, prm=short)
    cut = [row["step_rewards"][-1] is None for row in read_rows(tmp_path / "out", Answer)]
    assert manifest["counts"]["truncated_scores"] == sum(cut) > 0
    assert generate(tmp_path / "whole", method)["counts"]["truncated_scores"] == 0


def test_the_function_answers_texts_and_chats(policy: Path, prm: Path):
    questions = [dial.question for dial in tiny.dials(2, 0, "test")]
    chat: Any = [{"role": "user", "content": questions[1]}]
    options: dict[str, Any] = {"policy": str(policy), "prm": str(prm), "budget": 4, "sampling": SAMPLING}
    results = openprm.search([questions[0], chat], method="pbs", **options)
    for result, question in zip(results, questions, strict=True):
        assert isinstance(result, SearchResult)
        assert "".join(result.steps) == result.text
        scored = load_scorer(str(prm))({"question": question, "response": result.text})
        assert list(result.step_rewards) == pytest.approx(scored["step_rewards"], abs=1e-4)
        assert result.score == pytest.approx(scored["score"], abs=1e-4)
        assert result.generated_tokens > 4


# ---- The command ----


def run(*arguments: Any) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, ["search", *map(str, arguments)])
    return result.exit_code, result.stdout, f"{result.stderr}{result.exception or ''}"


REJECTING = ("--early-rejection", "0.1", "--calibration", "nowhere")
DRAWN = ("--temperature", "1.15", "--max-new-tokens", "48", "--budget", "4")


def test_one_prompt_before_your_eyes(policy: Path, prm: Path):
    question = tiny.dials(1, 0, "test")[0].question
    code, out, err = run(policy, "--prm", prm, "--prompt", question, "--method", "pbs", *DRAWN)
    assert code == 0, err
    sampling = Sampling(temperature=1.15, max_new_tokens=48)
    searcher = Searcher.load(GeneratorSpec(str(policy)), RewardSpec(str(prm)), Method("pbs", 4), sampling)
    (found,) = searcher([[{"role": "user", "content": question}]], [0])
    assert not isinstance(found, Failure)
    assert out == found.text + "\n"
    assert "pbs: 2 beams, each extended in 2 ways at every step" in err
    assert f"step {found.depths}: " in err
    assert f"{found.best.score:+.3f} (mean)" in err
    assert f"{found.generated_tokens:,} tokens generated, {found.scored_tokens:,} scored" in err


def test_the_prompts_of_a_file(tmp_path: Path, policy: Path, prm: Path):
    file = tmp_path / "mine.jsonl"
    questions = [dial.question for dial in tiny.dials(2, 0, "test")]
    file.write_text("".join(json.dumps({"question": question}) + "\n" for question in [*questions, ""]), "utf-8")
    code, _, err = run(policy, file, "--prm", prm, *DRAWN, "--out", tmp_path / "out")
    assert code == 0, err
    assert f"2 prompts in {tmp_path / 'out-prompts'}" in err
    assert [row["question"][0]["content"] for row in read_rows(tmp_path / "out", Answer)] == questions
    assert "'question' is empty" in (tmp_path / "out-prompts" / "rejected.jsonl").read_text("utf-8")


def test_what_a_prompt_is_told(policy: Path, prm: Path, short: Path):
    question = tiny.dials(1, 0, "test")[0].question
    for reward_model, method, budget, words in [
        (short, "best-of-n", 4, "the reward model does not read to its end"),
        (prm, "pbs", 5, "4 of a budget of 5 are used"),
        (prm, "diverse-pbs", 3, "with a single beam there is nothing to keep apart"),
    ]:
        arguments = (policy, "--prm", reward_model, "--prompt", question, "--method", method, *DRAWN)
        code, _, err = run(*arguments, "--budget", budget)
        assert code == 0, err
        assert words in err
    _, _, err = run(policy, "--prm", prm, "--prompt", question, "--method", "pbs", *DRAWN)
    assert "of a budget" not in err
    assert "does not read" not in err


def test_what_the_command_needs(prompts: Path, policy: Path, prm: Path):
    asked = (policy, "--prompt", "x", "--prm", prm)
    for arguments, problem in [
        ((policy,), "give either --prompt, or prompts and --out"),
        ((policy, prompts), "give either --prompt, or prompts and --out"),
        ((policy, "--prompt", "x"), "best-of-n needs a reward model"),
        ((*asked, "--early-rejection", "0.1"), "early rejection needs a risk"),
        ((*asked, "--engine", "server"), "needs the addresses"),
        ((*asked, "--method", "majority-vote", *REJECTING), "early rejection is for best-of-n, not for majority-vote"),
    ]:
        code, _, err = run(*arguments)
        assert code != 0
        assert problem in " ".join(err.replace("│", " ").split())
