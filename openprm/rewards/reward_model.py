"""Outcome rewards by a reward model: any sequence-classification model with one label."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..engines.base import Report, no_report
from ..engines.specs import RewardSpec, recorded_options
from ..engines.step_requests import Prefix, PrefixRewards
from ..engines.step_scorer import StepScorer
from ..errors import Failure
from ..schema import plain_reward
from .base import RewardBatch, RewardedBatches, RewardResult


class ModelRewarder:
    """Rewards a candidate by the raw logit of question and whole response (see `openprm.scoring.encoding`).

    `model` is a folder or a Hub id of any ORM, which transformers loads in float32; or a `RewardSpec` with another
    engine. `name` of the rewards is by default the folder's name or the Hub id. An empty response, one that the
    model's chat template does not render and one that is too long for the model are failures.

    Raises InputError, at the first batch, for a model that is not a reward model or has no chat template.
    """

    def __init__(self, model: str | Path | RewardSpec, *, name: str | None = None) -> None:
        self.spec = model if isinstance(model, RewardSpec) else RewardSpec(str(model))
        source = Path(self.spec.source)
        self.identity = source.resolve().name if source.exists() else self.spec.source
        self.name = name or self.identity
        self._scorer: StepScorer | None = None

    def rewards(self, batches: Iterable[RewardBatch], report: Report = no_report) -> RewardedBatches:
        for batch in batches:
            if self._scorer is None:
                self._scorer = StepScorer.load(self.spec)
            responses = [Prefix(one["question"], (one["response"],)) for one in batch.candidates]
            yield batch, list(map(self._result, self._scorer.score(responses, report)))

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "model",
            "model": self.identity,
            "revision": self.spec.revision,
            "engine": self.spec.engine,
            "dtype": self.spec.dtype,
            "trust_remote_code": self.spec.trust_remote_code,
            "engine_options": recorded_options(self.spec.options),
        }

    def close(self) -> None:
        """Frees what the engine holds; the next batch loads it again."""
        if self._scorer is not None:
            self._scorer.close()
            self._scorer = None

    def _result(self, rewarded: PrefixRewards | Failure) -> RewardResult:
        if isinstance(rewarded, Failure):
            return RewardResult(None, failure=rewarded)
        return RewardResult(plain_reward(self.name, *rewarded.rewards))
