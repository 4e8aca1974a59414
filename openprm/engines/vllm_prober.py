"""Read the next tokens of a language model at places of token sequences with vLLM (see `vllm_engine`).

prober = VllmProber("org/model", dtype="bfloat16", tensor_parallel_size=2)
prober.probe([Probe(tokens=[1, 5, 7], places=[1, 2], wanted=[[7], [648, 387]])])
prober.close()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Failure, InputError, first_line
from .base import Head, Probe, Report, check_lengths, no_report
from .event_loop import gathered
from .vllm_engine import VllmEngine

if TYPE_CHECKING:
    from vllm import RequestOutput

#: Wanted tokens of a place: as many as vLLM has room for.
_MOST = 128


class VllmProber(VllmEngine):
    """A `Prober` of next tokens with vLLM. It takes no head; `transformers` reads those.

    Where only the sequence's own next tokens are wanted (as for the probability of an answer), vLLM reads them all in
    one pass, without its prefix cache. Every other place is a request that generates one token behind it; such
    requests share what is before them through the prefix cache. A sequence is at most one token shorter than what
    vLLM holds, since it generates one. A wanted token that vLLM does not report is a failure of its row.

    Raises InputError as `VllmEngine` does, for a head, and where vLLM's engine has died.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        head: Head | None = None,
        revision: str | None = None,
        dtype: str = "float32",
        trust_remote_code: bool = False,
        **engine_args: Any,
    ) -> None:
        if head is not None:
            raise InputError(f"{model}: vLLM does not read the head {head.weights!r}; take the engine `transformers`")
        origin: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        super().__init__(model, dtype=dtype, runner="generate", **origin, **{"max_logprobs": _MOST, **engine_args})
        self.max_length -= 1

    def probe(self, rows: Sequence[Probe], report: Report = no_report) -> list[list[list[float]] | Failure]:
        """See `Prober`."""
        check_lengths([[row.tokens for row in rows]], self.max_length)
        with self.alive():
            return self.thread.run(gathered(self._row(row, report) for row in rows))

    async def _row(self, row: Probe, report: Report) -> list[list[float]] | Failure:
        from vllm.exceptions import VLLMClientError

        tokens = list(row.tokens)
        asked = list(zip(row.places, row.wanted, strict=True))
        # behind place p stands token p + 1
        own = [place for place, ids in asked if list(ids) == tokens[place + 1 : place + 2]]
        others = [one for one in asked if one[0] not in own]
        try:
            read = [] if not own else (await self._say(tokens, prompt_logprobs=0)).prompt_logprobs or []
            said = await gathered(self._say(tokens[: place + 1], logprob_token_ids=list(ids)) for place, ids in others)
        except VLLMClientError as error:
            return Failure(first_line(error), "leave it out, or ask for other tokens")
        behind: dict[int, Mapping[int, Any]] = {place: read[place + 1] or {} for place in own}
        behind |= {place: (one.outputs[0].logprobs or [{}])[0] for (place, _), one in zip(others, said, strict=True)}
        report(1, len(tokens))
        for place, ids in asked:
            if missing := [token for token in ids if token not in behind[place]]:
                reason = f"vLLM reports no probability of token {missing[0]} behind token {place} of a sequence"
                return Failure(reason, "take the engine `transformers`")
        return [[behind[place][token].logprob for token in ids] for place, ids in asked]

    async def _say(self, tokens: Sequence[int], **asked: Any) -> RequestOutput:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        kind = RequestOutputKind.FINAL_ONLY
        params = SamplingParams(temperature=0, max_tokens=1, detokenize=False, output_kind=kind, **asked)
        return await self.sample(tokens, params)
