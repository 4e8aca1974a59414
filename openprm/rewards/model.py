"""Outcome rewards by a reward model: any sequence-classification model with one label."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jinja2 import TemplateError

from ..encoding import encode
from ..engines import decisive
from ..engines.base import Failure, RewardEngine
from ..records import Candidate, plain_reward
from ..rejections import InputError, first_line
from .base import Outcome, RewardBatch

_RESERVED = {"model", "revision", "trust_remote_code", "dtype"}


class ModelRewarder:
    """Rewards a candidate by the raw logit of question and whole response (see `openprm.encoding`).

    `model` is a folder or a Hub id, of this package's checkpoints or of any other ORM. `name` (default: the folder's
    name, the Hub id) is that of the rewards. `engine_options` go to the engine. An empty response, one that the
    model's chat template does not render and one that is too long for the model are failures; nothing is cut.

    Raises InputError for an engine option that has a parameter of its own here (no option can allow a model's code),
    and, at the first batch, for what is no reward model or has no chat template.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        name: str | None = None,
        engine: Literal["transformers", "vllm"] = "transformers",
        revision: str | None = None,
        trust_remote_code: bool = False,
        dtype: str = "float32",
        engine_options: Mapping[str, Any] | None = None,
    ) -> None:
        if engine not in ("transformers", "vllm"):
            raise InputError(f"unknown engine {engine!r} for a reward model; choose 'transformers' or 'vllm'")
        if taken := sorted(_RESERVED.intersection(engine_options or {})):
            raise InputError(f"{', '.join(taken)} is no engine option, but a parameter of its own; give it as that")
        self.model = str(model)
        self.identity = Path(model).resolve().name if Path(model).exists() else str(model)
        self.name = name or self.identity
        self.engine = engine
        self.revision = revision
        self.trust_remote_code = trust_remote_code
        self.dtype = dtype
        self.engine_options = dict(engine_options or {})
        self._loaded: _Loaded | None = None

    def rewards(self, batches: Iterable[RewardBatch]) -> Iterator[tuple[RewardBatch, list[Outcome]]]:
        for batch in batches:
            if self._loaded is None:
                self._loaded = self._load()
            yield batch, self._loaded.outcomes(batch.candidates, self.name)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "model",
            "model": self.identity,
            "revision": self.revision,
            "suffix": _suffix(self.model, self.revision),
            "engine": self.engine,
            "dtype": self.dtype,
            "trust_remote_code": self.trust_remote_code,
            "engine_options": decisive(self.engine_options),
        }

    def close(self) -> None:
        """Gives back what the engine holds; the next batch makes it anew."""
        if self._loaded is not None:
            self._loaded.engine.close()
            self._loaded = None

    def _load(self) -> _Loaded:
        from transformers import AutoTokenizer

        from ..checkpoint import reward_model_config

        origin: dict[str, Any] = {"revision": self.revision, "trust_remote_code": self.trust_remote_code}
        reward_model_config(self.model, **origin)
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.model, **origin)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.model}: its tokenizer cannot be loaded: {first_line(error)}") from error
        if not tokenizer.chat_template:
            raise InputError(
                f"{self.model} has no chat template, so it is not known how it reads a conversation; put the one it "
                "was trained with into its folder as chat_template.jinja"
            )
        engine = self._make_engine({**self.engine_options, "dtype": self.dtype, **origin})
        longest = min(engine.max_length, tokenizer.model_max_length)
        return _Loaded(engine, tokenizer, _suffix(self.model, self.revision), longest)

    def _make_engine(self, options: dict[str, Any]) -> RewardEngine:
        if self.engine == "vllm":
            from ..engines.vllm_rewards import VllmRewardEngine

            return VllmRewardEngine(self.model, **options)
        from ..engines.hf_rewards import TransformersRewardEngine

        return TransformersRewardEngine(self.model, **options)


@dataclass(frozen=True)
class _Loaded:
    engine: RewardEngine
    tokenizer: Any
    suffix: str
    longest: int

    def outcomes(self, candidates: Sequence[Candidate], name: str) -> list[Outcome]:
        encoded = [self._encode(candidate) for candidate in candidates]
        found = iter(self.engine.rewards([[one] for one in encoded if not isinstance(one, Failure)]))
        return [
            Outcome(None, failure=sequence) if isinstance(sequence, Failure) else _outcome(name, *next(found))
            for sequence in encoded
        ]

    def _encode(self, candidate: Candidate) -> list[int] | Failure:
        if not candidate["response"].strip():
            return Failure("the response is empty", "leave it out, or sample it again", transient=False)
        try:
            sequence = encode(self.tokenizer, candidate["question"], candidate["response"], self.suffix)
        except (ValueError, TemplateError) as error:  # templates refuse roles they do not know
            return Failure(first_line(error), "use a reward model that reads such conversations", transient=False)
        if len(sequence) > self.longest:
            return Failure(
                f"question and response take {len(sequence)} tokens; the reward model reads at most {self.longest}",
                "use a reward model with a longer context, or sample shorter responses",
                transient=False,
            )
        return sequence


def _outcome(name: str, reward: float) -> Outcome:
    if not math.isfinite(reward):
        return Outcome(None, failure=Failure(f"the reward is {reward}", "use dtype float32", transient=False))
    return Outcome(plain_reward(name, reward))


def _suffix(model: str, revision: str | None) -> str:
    """The text behind a conversation, as the checkpoint records it; read without importing a model library."""
    try:
        if Path(model).is_dir():
            file = Path(model) / "config.json"
        else:
            from huggingface_hub import hf_hub_download

            file = Path(hf_hub_download(model, "config.json", revision=revision))
        config = json.loads(file.read_text("utf-8"))
    except Exception as error:  # of whatever HTTP client the Hub's library uses
        raise InputError(f"{model}: its config.json cannot be read: {first_line(error)}; check the name") from error
    return (config.get("openprm") or {}).get("suffix", "")
