"""Sampling: what it writes, and that nothing is lost or doubled, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from openprm.engines.base import Batch, PromptSamples, Sample, Sampling, prompt_seed
from openprm.engines.specs import GeneratorSpec, recorded_options
from openprm.errors import Failure, InputError
from openprm.presets.toy_stages import ToyPrompts
from openprm.runs.folder import read_rows, rows_hash
from openprm.schema import Candidate, Prompt
from openprm.stages.sample import SampleResponses

from ..engines.faulty_server import FaultyServer
from ..folders import Killed, candidate, contents, dataset, nothing_local

SERVERS = ("http://localhost:1/v1",)
DOWN = Failure("the server is down", "start it", transient=True)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven prompts, two a shard in what follows: four shards."""
    folder = tmp_path_factory.mktemp("prompts") / "prompts"
    ToyPrompts(n=7, split="train").run(folder)
    return folder


def sample(prompts: Path, model: str | Path, out: Path, **options: Any) -> Any:
    values: dict[str, Any] = {"n": 3, "temperature": 1.0, "max_new_tokens": 12, "seed": 5, "prompts_per_shard": 2}
    return SampleResponses(prompts=str(prompts), model=str(model), **values, **options).run(out)


class Echo:
    """A generator that answers with the seed it was given; what it was asked is in `asked`.

    Fails for the prompts in `down`, and dies before the batch `kill_at`. Gives batches back in another order.
    """

    engine, version, model, revision = "openai", None, "echo", None

    def __init__(self, down: Sequence[str] = (), kill_at: int | None = None) -> None:
        self.down = down
        self.kill_at = kill_at
        self.asked: list[str] = []
        self.closed = False

    def generate(
        self, batches: Iterable[Batch], sampling: Sampling, report: Any
    ) -> Iterator[tuple[Batch, list[PromptSamples]]]:
        held = []
        for batch in batches:
            if batch.index == self.kill_at:
                raise Killed
            held.append(
                (batch, [self.answer(*one, sampling) for one in zip(batch.questions, batch.seeds, strict=True)])
            )
            if len(held) == 2:
                yield held.pop()
                yield held.pop()
        yield from held

    def answer(self, question: Any, seed: int, sampling: Sampling) -> PromptSamples:
        text = question[0]["content"]
        self.asked.append(text)
        if text in self.down:
            return PromptSamples([], seed, DOWN)
        samples = [Sample(text=f"{text} {seed} {i}", n_tokens=2, finish_reason="stop") for i in range(sampling.n)]
        return PromptSamples(samples, seed)

    def close(self) -> None:
        self.closed = True


def echo(prompts: Path, out: Path, generator: Echo, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(GeneratorSpec, "make", lambda _: generator)
        return sample(prompts, "echo", out, servers=[*SERVERS], **options)


def texts(prompts: Path) -> list[str]:
    return [row["question"][0]["content"] for row in read_rows(prompts)]


# ---- What it writes ----


def test_n_candidates_a_prompt_in_order(tmp_path: Path, prompts: Path, policy: Path):
    manifest = sample(prompts, policy, tmp_path / "out")
    rows = list(read_rows(tmp_path / "out", Candidate))
    asked = list(read_rows(prompts))
    assert [row["prompt_id"] for row in rows] == [prompt["prompt_id"] for prompt in asked for _ in range(3)]
    assert [row["sample_index"] for row in rows] == [0, 1, 2] * 7
    assert (manifest["rows"], manifest["row_hash"], manifest["counts"]["prompts"]) == (21, rows_hash(rows), 7)
    assert manifest["counts"]["tokens"] == sum(row["n_tokens"] for row in rows)
    assert manifest["parameters"]["dtype"] == "float32"  # the checkpoint's
    assert len({row["generator"]["seed"] for row in rows}) == 7
    for row in rows:
        assert row["generator"] | {"seed": 0, "engine_version": ""} == {
            "model": "policy",
            "revision": None,
            "engine": "transformers",
            "engine_version": "",
            "temperature": 1.0,
            "top_p": 1.0,
            "max_new_tokens": 12,
            "stop": [],
            "system_prompt": None,
            "seed": 0,
        }
        assert ("truncated" in row["marks"]) == (row["finish_reason"] == "length")
        assert ("empty" in row["marks"]) == (not row["response"].strip())
        assert row["rewards"] == []
    assert "truncated" in {mark for row in rows for mark in row["marks"]}
    assert nothing_local(tmp_path / "out", tmp_path)
    assert not list((tmp_path / "out").glob(".*"))


def test_a_prompt_keeps_its_seed_when_others_go(tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch):
    echo(prompts, tmp_path / "all", Echo(), monkeypatch)
    rows = list(read_rows(prompts))[3:]
    echo(dataset(tmp_path / "some", Prompt, rows), tmp_path / "out", Echo(), monkeypatch)
    everything = list(read_rows(tmp_path / "all"))
    assert list(read_rows(tmp_path / "out")) == everything[9:]
    assert everything[0]["generator"]["seed"] == prompt_seed(5, everything[0]["prompt_id"])
    assert len({row["generator"]["seed"] for row in everything}) == 7


def test_prompts_that_repeat_are_refused(tmp_path: Path):
    rows = [{**candidate("p", index, "x"), "reference": None} for index in range(2)]
    with pytest.raises(InputError, match="'p' stands in several rows"):
        sample(dataset(tmp_path / "c", Candidate, rows), tmp_path / "c", tmp_path / "out")


def test_engines_servers_and_options_must_fit(policy: Path):
    for engine, options, problem in [
        ("vlm", {}, "unknown engine 'vlm'"),
        ("server", {}, "needs the addresses"),
        ("vllm", {"servers": SERVERS}, "no other engine takes any"),
        ("server", {"servers": SERVERS, "revision": "main"}, "where the servers are started"),
        ("transformers", {"options": {"nonsense": 3}}, r"transformers cannot be made with .*nonsense"),
        ("transformers", {"dtype": "float99"}, "unknown dtype 'float99'"),
    ]:
        with pytest.raises(InputError, match=problem):
            GeneratorSpec(str(policy), engine, **options).make()


# ---- Kills ----


def test_a_killed_run_does_only_what_is_missing(tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch):
    whole, killed, resumed = Echo(), Echo(kill_at=2), Echo()
    expected = echo(prompts, tmp_path / "whole", whole, monkeypatch)
    with pytest.raises(Killed):
        echo(prompts, tmp_path / "killed", killed, monkeypatch)
    assert killed.closed
    assert not (tmp_path / "killed").exists()
    assert echo(prompts, tmp_path / "killed", resumed, monkeypatch) == expected
    assert killed.asked + resumed.asked == whole.asked == texts(prompts)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert not [name for name, content in contents(tmp_path / "whole").items() if b"localhost" in content]


def test_options_with_secrets_are_refused_and_places_not_told():
    with pytest.raises(InputError, match="'hf_token' would be written down; give secrets by the environment"):
        GeneratorSpec("m", "vllm", options={"hf_token": "hf_SECRET"})
    options = {"download_dir": "/home/me", "tokenizer": "/home/me/tokenizers/mine", "tensor_parallel_size": 8}
    assert recorded_options(options) == {"tokenizer": "mine"}


# ---- Failures ----


def test_a_prompt_too_long_for_the_model_is_listed(tmp_path: Path, prompts: Path, policy: Path):
    rows = list(read_rows(prompts))
    rows[1]["question"] = [{"role": "user", "content": "up 1 " * 2000}]
    manifest = sample(dataset(tmp_path / "some", Prompt, rows), policy, tmp_path / "out")
    assert manifest["rows"] == 18
    ((reason, count),) = manifest["counts"]["rejected"].items()
    assert "the prompt takes" in reason
    assert count == 1


# ---- Servers ----


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def ask_server(prompts: Path, server: FaultyServer, out: Path, **connection: Any) -> Any:
    return sample(prompts, "m", out, servers=[server.url], engine_options=connection)


@pytest.mark.usefixtures("no_proxy")
def test_what_a_server_failed_to_give_is_listed_and_asked_for_again(tmp_path: Path, prompts: Path):
    with FaultyServer() as reliable:
        expected = ask_server(prompts, reliable, tmp_path / "whole")
    with FaultyServer(lambda number, _: "500" if number in (1, 4) else "answer") as server:
        with pytest.raises(InputError, match=r"2 failed that a retry may fix.*500"):
            ask_server(prompts, server, tmp_path / "out", retries=0, concurrency=1)
        before = len(server.requests)
        assert ask_server(prompts, server, tmp_path / "out", retries=0, concurrency=1) == expected
        assert len(server.requests) == before + 2
