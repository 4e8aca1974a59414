"""Builder: candidates from a file or dataset, such as `Candidates(candidates="answers.jsonl")`."""

from __future__ import annotations

import datasets
from openprm.builders.stage import StageBuilder, config_of

from openprm.schema import Candidate
from openprm.stages.import_candidates import ImportCandidates


class Candidates(StageBuilder):
    """One row per response, in the unified format."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = config_of(ImportCandidates)
    RECORD = Candidate
