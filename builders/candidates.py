"""Builder: candidates from a file or dataset, such as `Candidates(candidates="answers.jsonl")`."""

from __future__ import annotations

from openprm.builders.stage import StageBuilder

from openprm.schema import Candidate
from openprm.stages.import_candidates import ImportCandidates


class Candidates(StageBuilder):
    """One row per response, in the unified format."""

    STAGE = ImportCandidates
    RECORD = Candidate
