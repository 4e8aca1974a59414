"""vLLM's engine and the processes that it starts: a script uses it behind `if __name__ == "__main__":`."""

from __future__ import annotations

import atexit
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from ..errors import InputError, first_line
from .event_loop import EventLoopThread
from .transformers_loading import checkpoint_dtype
from .vllm_worker import EndWithOwner, own

if TYPE_CHECKING:
    from vllm import AsyncEngineArgs, PoolingParams, RequestOutput, SamplingParams
    from vllm.v1.engine.async_llm import AsyncLLM


class VllmEngine:
    """A model in vLLM, on an event loop of its own (`thread`): it keeps running while the caller is busy.

    `engine_args` are vLLM's own: dtype (`auto` is the checkpoint's), tensor_parallel_size, max_model_len and so on.
    Raises InputError where vLLM is not installed or cannot load the model.
    """

    engine = "vllm"

    def __init__(
        self, model: str | Path, *, revision: str | None = None, trust_remote_code: bool = False, **engine_args: Any
    ) -> None:
        try:
            import vllm
        except ImportError as error:
            raise InputError("the engine `vllm` needs the extra: pip install 'openprm[vllm]'") from error
        from transformers.utils import cached_file
        from transformers.utils.hub import extract_commit_hash
        from vllm.platforms import current_platform

        self.version: str | None = vllm.__version__
        self.model = Path(model).name if Path(model).exists() else str(model)  # of a folder only its name
        self._ids = count()
        self.thread = EventLoopThread("vllm")
        own()
        try:
            # transformers reads the config first: it says in one line what is wrong with a name
            dtype = checkpoint_dtype(model, revision=revision, trust_remote_code=trust_remote_code)
            if engine_args["dtype"] == "auto":
                engine_args["dtype"] = dtype
            # the Hub's commit, by where the file lies in its cache
            self.revision: str | None = extract_commit_hash(cached_file(model, "config.json", revision=revision), None)
            # where a prompt with a seed is read in parts, vLLM 0.32 dies on a CPU: "CPU Generator does not use offset"
            in_parts = engine_args["runner"] != "generate" or not current_platform.is_cpu()
            whole = {} if in_parts else {"enable_chunked_prefill": False}
            arguments = vllm.AsyncEngineArgs(
                model=str(model),
                revision=revision,
                tokenizer_revision=revision,
                trust_remote_code=trust_remote_code,
                worker_extension_cls=f"{EndWithOwner.__module__}.{EndWithOwner.__qualname__}",
                **{"enable_prefix_caching": True, "disable_log_stats": True, **whole, **engine_args},
            )
            self.llm: AsyncLLM = self.thread.run(_start(arguments))
        except Exception as error:
            self.thread.close()
            raise InputError(f"{model}: vLLM cannot load it: {_reason(error)}") from error
        self.max_length: int = self.llm.model_config.max_model_len
        self.vocabulary: int = self.llm.model_config.get_vocab_size()
        atexit.register(self.close)  # at the end of a program vLLM would look for a closed event loop

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Raises InputError where vLLM's engine dies meanwhile."""
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            yield
        except EngineDeadError as error:
            raise InputError(
                f"{self.model}: vLLM's engine has died; its log says why. What is finished is kept"
            ) from error

    async def sample(self, prompt: Sequence[int], params: SamplingParams) -> RequestOutput:
        """All samples of one prompt, when the last one is finished."""
        return [output async for output in self.stream(prompt, params)][-1]

    def stream(self, prompt: Sequence[int], params: SamplingParams) -> AsyncGenerator[RequestOutput, None]:
        """The samples of one prompt, as they grow; closing it ends the request."""
        return self.llm.generate(_tokens(prompt), params, str(next(self._ids)))

    async def pool(self, prompt: Sequence[int], params: PoolingParams) -> float:
        """The one number that the model makes of a sequence."""
        outputs = self.llm.encode(_tokens(prompt), params, str(next(self._ids)))
        return [output async for output in outputs][-1].outputs.data.item()

    def close(self) -> None:
        """Ends vLLM's processes. May be called twice."""
        atexit.unregister(self.close)
        if not self.thread.closed:
            self.thread.run(_end(self.llm))
            del self.llm  # when it is collected, vLLM ends it once more, and at a program's end cannot
            self.thread.close()


async def _start(arguments: AsyncEngineArgs) -> AsyncLLM:
    from vllm.v1.engine.async_llm import AsyncLLM

    llm = AsyncLLM.from_engine_args(arguments)
    await llm.get_supported_tasks()  # kept by vLLM: without it, a first request waits before it is counted
    return llm


async def _end(llm: AsyncLLM) -> None:
    llm.shutdown()


def _tokens(ids: Sequence[int]) -> Any:
    from vllm.inputs import tokens_input

    return tokens_input(list(ids))


def _reason(error: Exception) -> str:
    """What is wrong, in one line; of what vLLM's processes meet, the error only says that their log tells it."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):  # its own first line counts the errors
        first = error.errors()[0]
        return shorten(": ".join([*map(str, first["loc"][:1]), first["msg"]]), 300)
    return first_line(error)
