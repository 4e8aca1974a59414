"""Reward token sequences with vLLM in this process (see `vllm_engine`).

engine = VllmRewardEngine("openprm/openprm", dtype="bfloat16", tensor_parallel_size=2)
engine.rewards([[[1, 5], [1, 5, 7]]])
engine.close()
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .base import Report, check_lengths, no_report
from .event_loop import gathered
from .vllm_engine import VllmEngine


class VllmRewardEngine(VllmEngine):
    """A `RewardEngine` (see `base`) with vLLM: any sequence-classification checkpoint with one label.

    Rewards are raw logits, whatever activation the checkpoint asks for, read at the last token of each sequence.
    Prefixes that sequences share are computed once, in whole blocks, while they stay in vLLM's prefix cache.

    Raises InputError as `VllmEngine` does, for what is no reward model, and where vLLM's engine has died.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        dtype: str = "float32",
        trust_remote_code: bool = False,
        **engine_args: Any,
    ) -> None:
        from ..models.reward_checkpoint import reward_model_config

        origin: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        reward_model_config(model, **origin)
        super().__init__(model, dtype=dtype, runner="pooling", **origin, **engine_args)

    def rewards(self, groups: Sequence[Sequence[Sequence[int]]], report: Report = no_report) -> list[list[float]]:
        """See `RewardEngine`. Raises ValueError for a sequence that is empty or too long."""
        check_lengths(groups, self.max_length)
        with self.alive():
            return self.thread.run(gathered(self._group(group, report) for group in groups))

    async def _group(self, group: Sequence[Sequence[int]], report: Report) -> list[float]:
        from vllm import PoolingParams

        # all at once: vLLM finds a block in its prefix cache as soon as another request is scheduled to compute it;
        # not token_classify, which would skip that cache
        params = [PoolingParams(task="classify", use_activation=False) for _ in group]
        rewards = await asyncio.gather(*map(self.pool, group, params))
        report(1, sum(map(len, group)))
        return rewards
