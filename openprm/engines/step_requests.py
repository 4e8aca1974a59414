"""What search is made of: partial responses, and the two functions that extend and reward them.

A search (`openprm.decoding`) takes a `Generate` and a `Score` and knows nothing of engines, tokenizers or separators.
It calls each with what all prompts need at one depth. `step_generator` makes a `Generate` of a language model,
`step_scorer` a `Score` of a reward model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import Failure
from ..schema import Message


@dataclass(frozen=True)
class PartialResponse:
    """A response so far.

    steps: its complete steps; all of it, once it is finished
    tokens: what was generated so far, which an engine continues from; may reach beyond the last complete step
    finish_reason: None while it is unfinished; then "stop", or "length" where a limit cut it
    """

    steps: tuple[str, ...] = ()
    tokens: tuple[int, ...] = ()
    finish_reason: str | None = None

    @property
    def finished(self) -> bool:
        return self.finish_reason is not None

    @property
    def text(self) -> str:
        """The complete steps, joined."""
        return "".join(self.steps)


@dataclass(frozen=True)
class StepRequest:
    """A partial response to be extended in `n` ways: each by one step, or, if `whole`, to its end.

    The i-th of them is drawn with the seed `seed + i`.
    """

    question: Sequence[Message]
    partial: PartialResponse
    n: int
    seed: int
    whole: bool = False


@dataclass(frozen=True)
class Extension:
    """An extended response, and how many tokens were generated for it (an end-of-turn token included)."""

    partial: PartialResponse
    n_tokens: int


@dataclass(frozen=True)
class Prefix:
    """A prefix of a response whose steps from number `known` (0-based) on are to be rewarded."""

    question: Sequence[Message]
    steps: tuple[str, ...]
    known: int = 0


@dataclass(frozen=True)
class PrefixRewards:
    """One reward for each step from `known` on, and how many tokens the reward model had to compute for them.

    Fewer rewards than steps where the rest does not fit into the model.
    """

    rewards: tuple[float, ...]
    n_tokens: int


#: For each request its `n` extensions, or why there are none; requests are independent of each other.
Generate = Callable[[Sequence[StepRequest]], list[list[Extension] | Failure]]
#: For each prefix its rewards, or why there are none; the same whatever else is scored with it.
Score = Callable[[Sequence[Prefix]], list[PrefixRewards | Failure]]
