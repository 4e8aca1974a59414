"""What every outcome reward is to the stage that uses it: candidates in, one outcome each out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

from ..errors import Failure
from ..schema import Candidate, Reward

#: The mark of a candidate whose answer could not be read, so that its reward is 0 for want of an answer.
UNPARSABLE = "unparsable"


@dataclass(frozen=True)
class Outcome:
    """The reward of one candidate, or why there is none.

    `marks` are added to the candidate's (`UNPARSABLE`: the reward is 0 because no answer could be read).
    """

    reward: Reward | None
    marks: tuple[str, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True)
class RewardBatch:
    """Candidates whose outcomes are kept together."""

    index: int
    candidates: Sequence[Candidate]


class Rewarder(Protocol):
    """Rewards candidates. Made once for a run; what it holds (a model, connections) is made when it is first used."""

    @property
    def name(self) -> str:
        """The name under which the rewards are stored."""

    def rewards(self, batches: Iterable[RewardBatch]) -> Iterator[tuple[RewardBatch, list[Outcome]]]:
        """Each batch with one outcome a candidate, in the candidates' order; batches may come in another order.

        What is wrong with one candidate is a failure of that one alone. Raises InputError for what no candidate
        can be rewarded with (a model that cannot be loaded, a server that refuses the key).
        """

    def describe(self) -> dict[str, Any]:
        """Everything the rewards are determined by, for the manifest (no keys, no addresses)."""

    def close(self) -> None:
        """Gives back what it holds."""


@dataclass(frozen=True)
class Rule:
    """A `Rewarder` by a pure function of one candidate."""

    name: str
    rule: Callable[[Candidate], Outcome]
    parameters: dict[str, Any]

    def rewards(self, batches: Iterable[RewardBatch]) -> Iterator[tuple[RewardBatch, list[Outcome]]]:
        for batch in batches:
            yield batch, [self.rule(candidate) for candidate in batch.candidates]

    def describe(self) -> dict[str, Any]:
        return {**self.parameters, "openprm": version("openprm")}  # a rule is code, which may change

    def close(self) -> None:
        """A rule holds nothing."""
