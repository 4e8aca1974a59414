"""Builder: candidates from a file or dataset.

Candidates(source=CandidateSource("answers.jsonl")).download_and_prepare()
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from openprm.builders.stage import StageBuilder, StageConfig

from openprm.data.candidate_source import CandidateSource
from openprm.schema import Candidate
from openprm.stages.datasets import make_candidates


@dataclass
class CandidatesConfig(StageConfig):
    """`source`: where the candidates come from."""

    source: CandidateSource | None = None
    strict: bool = False

    def inputs(self) -> dict[str, str]:
        return self._source().inputs()

    def make(self, out: Path) -> dict[str, Any]:
        return make_candidates(self._source(), out, strict=self.strict)

    def _source(self) -> CandidateSource:
        if self.source is None:
            raise ValueError("say where the candidates are: Candidates(source=CandidateSource(path))")
        return self.source


class Candidates(StageBuilder):
    """One row per response, in the unified format."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = CandidatesConfig
    RECORD = Candidate
