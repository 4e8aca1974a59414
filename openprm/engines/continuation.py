"""What an engine needs to continue partial responses, token by token.

`transformers` and `vllm` do. A server cannot: its interface takes texts, and a text tokenized again may not
be the tokens that were generated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import Failure
from .base import Report, Sampling, no_report


@dataclass(frozen=True)
class ContinuationRequest:
    """A sequence to continue.

    tokens: the prompt and what is written of the answer
    budget: how many tokens it may grow by, at least one; the model's context holds them
    seed: for the sampling, where each sequence has its own; else the first one's starts the random stream of all
    is_complete: whether it has grown enough, by the ids of the new tokens; asked after each, but for an end-of-turn
        token and the last of the budget, which end it anyway. None where only these do.
    stop: a text in what is new that says the same as `is_complete`, for an engine that looks for texts faster
    """

    tokens: list[int]
    budget: int
    seed: int
    is_complete: Callable[[Sequence[int]], bool] | None = None
    stop: str | None = None


class ContinuationEngine(Protocol):
    """A generator that continues token ids."""

    engine: str
    version: str | None
    model: str
    revision: str | None
    tokenizer: Any
    #: The tokens that end a turn.
    end_ids: list[int]
    #: Of prompt and answer together, in tokens; None where there is no limit.
    max_length: int | None

    def continue_tokens(
        self, rows: Sequence[ContinuationRequest], sampling: Sampling, report: Report = no_report
    ) -> list[list[int] | Failure]:
        """The new tokens of each row, an end-of-turn token included, in order.

        Of `sampling` only temperature and top_p count. Raises InputError where the engine has died.
        """

    def close(self) -> None:
        """Gives back what the engine holds."""
