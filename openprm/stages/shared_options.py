"""Parameters that several stages share: columns of candidates, the engine of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..data.candidates import CandidateSource
from ..data.columns import Columns
from ..data.paper_datasets import Source
from ..engines.base import Sampling
from ..engines.specs import EngineSpec, GeneratorSpec, recorded_options
from ..errors import InputError
from ..models.readout import declared_model
from ..runs.dataset import read_rejected
from ..runs.declaration import Stage, execution, input_path, parameter
from ..runs.manifest import describe_input, resolve_model


@dataclass(frozen=True, kw_only=True)
class ReadsRows(Stage):
    """A stage that lists the rows it cannot use."""

    strict: bool = execution("Stop at the first row that cannot be used, instead of listing it.", False)

    def run(self, out: str | Path, *, force: bool = False, replace: bool = False) -> dict[str, Any]:
        manifest = super().run(out, force=force, replace=replace)
        for failure in read_rejected(out) if self.strict else ():
            raise InputError(f"{failure} (stopped by --strict; {out} was made without)")
        return manifest


def version_read(source: Source | None, path: str | None) -> dict[str, str]:
    """Which version of a declared dataset is read: a commit on the Hub, unless it is read from `path`."""
    return {"hub": source.hub, "revision": source.revision} if source and path is None else {}


@dataclass(frozen=True, kw_only=True)
class ReadsCandidates(ReadsRows):
    """A stage that reads candidates: a user's file or dataset, or a stage's folder."""

    candidates: str = input_path(
        "Candidates: a JSONL, CSV or Parquet file, a dataset, or a folder of `openprm sample`.", argument=True
    )
    question_column: str = parameter("Column of the question: text or chat messages.", "question")
    response_column: str = parameter("Column of the response: text, or a list of texts.", "response")
    reward_column: str = parameter("Column of the reward: a number, a boolean, or win/tie/lose.", "reward")
    id_column: str | None = parameter("Column of the prompt id; default: a hash of the question.", None)
    reference_column: str | None = parameter("Column of the golden answer.", None)
    source_column: str | None = parameter("Column of each row's source.", None)
    model_column: str | None = parameter("Column of the model that gave the response.", None)
    split: str | None = parameter("Split of a dataset (not of a file).", None)
    where: dict[str, str] = parameter("Only rows with COLUMN=VALUE; may be repeated.", {})
    questions: str | None = input_path("Second file with the questions, joined on the prompt id.", None)
    questions_options: str | None = parameter("Its column with a list of answer options.", None)
    source: str | None = parameter("Name of the data's source; default: the file's name.", None)
    reward_name: str | None = parameter("Name of the reward, where there are several or a file's has none.", None)

    def candidate_source(self, *, rewards: bool = True) -> CandidateSource:
        """The candidates; without `rewards` those of a file are left out."""
        columns = Columns(
            question=self.question_column,
            response=self.response_column,
            reward=self.reward_column if rewards else None,
            prompt_id=self.id_column,
            reference=self.reference_column,
            source=self.source_column,
            model=self.model_column,
        )
        return CandidateSource(
            self.candidates,
            columns,
            split=self.split,
            where=self.where or None,
            questions=self.questions,
            questions_options=self.questions_options,
            source=self.source,
            reward_name=self.reward_name,
        )


@dataclass(frozen=True, kw_only=True)
class RunsEngine(Stage):
    """A stage that runs a model by an engine."""

    engine: str = parameter("transformers or vllm; `server` follows from --server.", "transformers")
    servers: list[str] = execution(
        "Address of an OpenAI-compatible server, such as http://host:8000/v1; may be repeated.", [], flag="--server"
    )
    engine_options: dict[str, Any] = parameter(
        "Option of the engine, NAME=VALUE, such as tensor_parallel_size=4; may be repeated.",
        {},
        flag="--engine-option",
    )
    revision: str | None = execution("Branch, tag or commit of a model on the Hub.", None)
    dtype: str = parameter("auto (the checkpoint's), float32, bfloat16, ...", "auto")
    trust_remote_code: bool = parameter("Run the code that comes with the model.", False)

    def recorded(self) -> dict[str, Any]:
        return engine_parameters(super().recorded(), bool(self.servers))


def engine_parameters(recorded: Mapping[str, Any], served: bool, prefix: str = "") -> dict[str, Any]:
    """What a manifest records of an engine: only the options that its results depend on."""
    found = dict(recorded)
    options = recorded_options(found.pop(f"{prefix}engine_options", {}))
    engine = {f"{prefix}engine": "server"} if served else {}  # its dtype is the servers' matter
    return {**found, **engine, **({f"{prefix}engine_options": options} if options else {})}


@dataclass(frozen=True, kw_only=True)
class Samples(RunsEngine):
    """A stage that samples from a language model; temperature and top-p are the paper's (section 4.1, B.2)."""

    model: str = input_path("Language model: a folder, a Hub id, or its name on the servers.")
    temperature: float = parameter("Sampling temperature.", 0.5)
    top_p: float = parameter("Nucleus sampling.", 1.0)
    max_new_tokens: int = parameter("Longest response, in tokens.", 1024)
    system_prompt: str | None = parameter("For questions without a system message.", None)
    chat_template: str | None = parameter("Chat template instead of the model's: a text, or @FILE.", None, file=True)
    seed: int = parameter("Seed of the random numbers.", 0)

    @cached_property
    def generator(self) -> GeneratorSpec:
        """The language model, of a fixed commit where it is on the Hub."""
        spec: GeneratorSpec = spec_of(GeneratorSpec, self, self.model)
        return spec if self.servers else replace(spec, revision=resolve_model(self.model, self.revision))

    def inputs(self) -> dict[str, str]:
        """Of a model on servers only the name is known, which is recorded as a parameter."""
        found = super().inputs()
        del found["model"]
        return found if self.servers else {**found, "model": self.generator.identity()}

    def recorded(self) -> dict[str, Any]:
        """With the dtype that is sampled in, where the engine is ours."""
        return super().recorded() | ({"model": self.model} if self.servers else {"dtype": self.generator.precision})

    def named(self, work: str) -> str:
        """The work as progress shows it, with the dtype."""
        return f"{work} ({self.generator.precision})" if self.generator.precision else work

    def sampling(self, n: int, stop: tuple[str, ...] = ()) -> Sampling:
        return Sampling(
            n=n,
            temperature=self.temperature,
            top_p=self.top_p,
            max_new_tokens=self.max_new_tokens,
            stop=stop,
            seed=self.seed,
            system_prompt=self.system_prompt,
            chat_template=self.chat_template,
        )


def named_models(model: str, revision: str | None = None) -> dict[str, dict[str, str]]:
    """The models that a model's declaration names beside it, as a manifest records what is read."""
    named = declared_model(model, revision).models()
    return {key: describe_input(path, "model") for key, path in named.items() if path != model}


def spec_of(kind: type[EngineSpec[Any]], stage: RunsEngine, model: str, prefix: str = "", **more: Any) -> Any:
    """The engine that a stage declares by fields of that prefix, of a `GeneratorSpec` or `RewardSpec`."""

    def given(name: str) -> Any:
        return getattr(stage, prefix + name)

    return kind(
        model,
        "server" if given("servers") else given("engine"),
        revision=given("revision"),
        dtype=given("dtype"),
        trust_remote_code=stage.trust_remote_code,
        servers=tuple(given("servers")),
        options=given("engine_options"),
        **more,
    )
