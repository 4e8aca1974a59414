"""Which engine generates or rewards with which model, declared before anything is loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pkgutil import resolve_name
from typing import Any, ClassVar, Generic, TypeVar

from ..errors import InputError
from .base import GenerationEngine, Prober, RewardEngine

E = TypeVar("E")

#: Options that change how fast an engine is and where it runs, but not what it computes: another machine may resume a
#: run with others. All other options are part of what identifies a run.
SPEED_OPTIONS = frozenset(
    "tensor_parallel_size pipeline_parallel_size data_parallel_size distributed_executor_backend "
    "gpu_memory_utilization max_num_seqs max_num_batched_tokens max_tokens enforce_eager swap_space seed "
    "download_dir states concurrency timeout retries key_variable".split()
)
_RESERVED = {"model", "revision", "dtype", "trust_remote_code", "servers"}
_SECRET = re.compile("token$|key$|password|secret", re.IGNORECASE)


def recorded_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that results may depend on, as a manifest may show them: of an absolute path only its name.

    Raises InputError for an option that holds a secret.
    """
    for name in options:
        if _SECRET.search(name):
            raise InputError(f"the option {name!r} would be written down; give secrets by the environment (HF_TOKEN)")
    recorded = {name: options[name] for name in sorted(options.keys() - SPEED_OPTIONS)}
    paths = {name: value for name, value in recorded.items() if isinstance(value, str) and os.path.isabs(value)}
    return recorded | {name: os.path.basename(path.rstrip("/")) for name, path in paths.items()}


@dataclass(frozen=True)
class EngineSpec(Generic[E]):
    """Which engine runs which model; nothing is loaded before `make`.

    `model`: a folder or a Hub id; for servers the name they know it by. `servers`: base addresses of OpenAI-compatible
    servers. `options` go to the engine as they are.
    """

    #: What makes the engine, by its name: the module, and the class or its method.
    makers: ClassVar[Mapping[str, str]]

    model: str
    engine: str = "transformers"
    revision: str | None = None
    dtype: str = "auto"
    trust_remote_code: bool = False
    servers: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.engine not in self.makers:
            raise InputError(f"unknown engine {self.engine!r}; choose one of {', '.join(self.makers)}")
        if (self.engine == "server") != bool(self.servers):
            raise InputError("the engine `server` needs the addresses of servers, and no other engine takes any")
        if self.engine == "server" and self.dtype != type(self).dtype:
            raise InputError("dtype is chosen where the servers are started; start them with it")
        if taken := sorted(_RESERVED & self.options.keys()):
            raise InputError(f"{', '.join(taken)} is no engine option, but a parameter of its own; give it as that")
        recorded_options(self.options)

    @cached_property
    def precision(self) -> str | None:
        """The dtype that the engine computes in: the checkpoint's, unless another is named; None where servers do."""
        if self.engine == "server":
            return None
        if self.dtype != "auto":
            return self.dtype
        from .transformers_loading import checkpoint_dtype

        try:
            return checkpoint_dtype(self.source, revision=self.revision, trust_remote_code=self.trust_remote_code)
        except (OSError, ValueError):
            return self.dtype  # the engine will say what is wrong

    def make(self) -> E:
        """The engine, with its model loaded. Raises InputError where that cannot be."""
        maker = resolve_name(f"{__package__}.{self.makers[self.engine]}")
        try:
            if self.engine == "server":
                return maker(self.servers, self.model, **self.options)
            origin = {"revision": self.revision, "trust_remote_code": self.trust_remote_code}
            return maker(self.model, dtype=self.precision, **origin, **self.options)
        except TypeError as error:
            raise InputError(f"the engine {self.engine} cannot be made with {dict(self.options)}: {error}") from error

    @property
    def source(self) -> str:
        """The folder or the Hub id of the checkpoint."""
        return self.model

    def identity(self) -> str:
        """The model as an input of a stage: a folder, or a Hub id with its revision."""
        return f"{self.source}@{self.revision}" if self.revision else self.source


@dataclass(frozen=True)
class GeneratorSpec(EngineSpec[GenerationEngine]):
    """An engine that generates, with options such as transformers' `batch_size` and vLLM's `tensor_parallel_size`."""

    makers: ClassVar = {
        "transformers": "transformers_generator:TransformersGenerator.load",
        "vllm": "vllm_generator:VllmGenerator",
        "server": "openai_generator:ServerGenerator",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.engine == "server" and (self.revision or self.trust_remote_code):
            raise InputError(
                "revision and trust_remote_code are chosen where the servers are started; start them with these"
            )


@dataclass(frozen=True)
class RewardSpec(EngineSpec[RewardEngine]):
    """An engine that rewards, with options such as transformers' `packed` and the servers' `concurrency`.

    `checkpoint`: a folder or a Hub id, where its tokenizer and its settings are read from; to be given where servers
    know the model by another name. `revision` and `trust_remote_code` are about the checkpoint.
    """

    makers: ClassVar = {
        "transformers": "transformers_rewards:TransformersRewardEngine",
        "vllm": "vllm_rewards:VllmRewardEngine",
        "server": "openai_rewards:ServerRewardEngine",
    }

    dtype: str = "float32"
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.engine == "server" and "/" not in self.source and not os.path.isdir(self.source):
            raise InputError(
                f"the servers' name {self.source!r} is neither a folder nor OWNER/NAME on the Hub; give the "
                "checkpoint that they serve, for its tokenizer (--checkpoint; of search, --prm-checkpoint)"
            )

    @property
    def source(self) -> str:
        """The folder or the Hub id of the checkpoint."""
        return self.checkpoint or self.model


@dataclass(frozen=True)
class ProbeSpec(EngineSpec[Prober]):
    """An engine that reads a model at places of sequences; among its options `head` (see `Prober`)."""

    makers: ClassVar = {
        "transformers": "transformers_prober:TransformersProber",
        "vllm": "vllm_prober:VllmProber",
    }

    dtype: str = "float32"
