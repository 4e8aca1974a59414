"""What there is to measure in a run's folder: candidates that models have scored, and answers to the same prompts.

Folders belong together by what their manifests say they were made of (names tell nothing), and are called by what
stands behind `scores-` and `answers-` in their names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..runs.folder import is_folder, read_manifest


@dataclass(frozen=True)
class EvaluationInputs:
    """One set of candidates, the scores of them, and what searches answered to their prompts, by name."""

    candidates: Path
    scores: dict[str, Path]
    answers: dict[str, Path]


def find_inputs(run: str | Path) -> tuple[list[EvaluationInputs], list[str]]:
    """Each set of candidates in a run's folder that has scores; and what scores and answers are left out, and why.

    Raises InputError where no candidates have scores.
    """
    run = Path(run)
    if not run.is_dir():
        raise InputError(f"{run}: there is no such folder; give the folder of a run")
    manifests = {path: read_manifest(path) for path in sorted(run.iterdir()) if is_folder(path)}
    by_hash = {manifest["row_hash"]: path for path, manifest in manifests.items() if "row_hash" in manifest}
    # responses may be scored before they are rewarded; what they are measured by is then in the later folder
    rewarded = {
        manifest["inputs"]["candidates"]["hash"]: path
        for path, manifest in manifests.items()
        if manifest["stage"] == "rewards"
    }
    scores: dict[Path, dict[str, Path]] = {}
    left_out = []
    for path, manifest in manifests.items():
        if manifest["stage"] != "scores":
            continue
        scored_input = manifest["inputs"]["candidates"]
        if of := by_hash.get(scored_input["hash"]):
            scores.setdefault(_rewarded_last(of, rewarded, manifests), {})[path.name.removeprefix("scores-")] = path
        else:
            left_out.append(
                _left_out(path, f"the candidates that it scores, {scored_input['name']!r}, are not in {run}")
            )
    if not scores:
        raise InputError(
            f"{run} has no scores of candidates that it also holds; make some with `openprm score`, or name both with "
            "--candidates and --scores"
        )
    answers = {path: manifest for path, manifest in manifests.items() if manifest["stage"] == "answers"}
    found = []
    for candidates, scored in scores.items():
        came_from = _ancestors(candidates, manifests, by_hash)
        answered = {
            path.name.removeprefix("answers-"): path
            for path, manifest in answers.items()
            if manifest["inputs"]["prompts"]["hash"] in came_from
        }
        found.append(EvaluationInputs(candidates, scored, answered))
    used = {path for entry in found for path in entry.answers.values()}
    left_out += [
        _left_out(
            path,
            f"its prompts, {manifest['inputs']['prompts']['name']!r}, are not those of candidates with scores, as far "
            f"as the folders in {run} tell what they were made of",
        )
        for path, manifest in answers.items()
        if path not in used
    ]
    return found, left_out


def _rewarded_last(candidates: Path, rewarded: dict[str, Path], manifests: dict[Path, dict[str, Any]]) -> Path:
    """The folder that the last reward of these candidates made; these, where none did."""
    seen = []
    while candidates not in seen:  # rewarded anew with the same rewards, they are what they were
        seen.append(candidates)
        candidates = rewarded.get(manifests[candidates]["row_hash"], candidates)
    return candidates


def _left_out(path: Path, why: str) -> str:
    return f"{path.name} is left out: {why}; put what is missing there, or name all, --candidates and the others"


def _ancestors(path: Path, manifests: dict[Path, dict[str, Any]], by_hash: dict[str, Path]) -> set[str]:
    """The hashes of all that a folder was made of, as far back as the run's folder shows."""
    found: set[str] = set()
    waiting = [path]
    while waiting:
        for entry in manifests[waiting.pop()]["inputs"].values():
            if entry["hash"] not in found:
                found.add(entry["hash"])
                waiting += [by_hash[entry["hash"]]] if entry["hash"] in by_hash else []
    return found
