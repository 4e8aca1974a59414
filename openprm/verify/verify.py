"""Check what was published: its files, its rows, and that it comes out the same when it is made again.

Everything that can be checked is, whatever is wrong with the rest. What cannot be (a sampling, a judge's rewards, an
artifact of which nothing before it is published) is said.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

from ..errors import InputError, first_line
from ..hub.publication import (
    MODEL,
    MODELS,
    RECORDS,
    Publication,
    check_files,
    open_publication,
    part_files,
    part_hash,
    part_rows,
)
from ..hub.repository import Missing, Repository, commit
from ..runs.folder import read_manifest, read_rows, row_digest
from .claims import check_cards, check_code, check_license, check_loading, check_origins
from .difference import Difference, first_difference, short
from .rebuild import NotRemade, measure_again, remake, restored
from .recount import CandidateCounts
from .report import Finding, Report, lines

__all__ = ["Finding", "Report", "lines", "verify"]

EQUAL = 1e-9  # of measured numbers, on one machine
CLOSE = 1e-6  # of measured numbers, between machines
CLOSE_REWARDS = 1e-4  # of a reward model's logits, between machines and batches


def verify(
    where: str | Path | Repository,
    work: str | Path | None = None,
    say: Callable[[str], None] = print,
    *,
    num_proc: int = 1,
) -> Report:
    """Checks one repository, `OWNER/NAME[@REVISION]` or a local folder.

    Files against their SHA-256; card, license and origins against the manifest; what loads, and a model's scoring
    code; rows against the recorded hash; trees, pairs and candidates' rewards against what comes out when they are
    made again from what was published before them (in the same owner's repositories, or their history); a model's
    results against a new measurement. `work` is the folder in which things are made again: a killed run goes on from
    what is there (default: a temporary folder). `say` is told what is being done.

    Raises InputError where nothing that this package published can be opened.
    """
    publication = open_publication(where)
    findings = []
    with _folder(work) as folder:
        for what, check in _checks(publication, folder, num_proc):
            say(f"{what} ...")
            findings.append(_finding(what, check))
    return Report(str(publication.repository), publication.kind, tuple(findings))


_Check = Callable[[], tuple[bool, str]]


# a manifest that is not what it should be raises anything of these where its values are used
_UNUSABLE = (ValueError, KeyError, TypeError, AttributeError)


def _finding(what: str, check: _Check) -> Finding:
    try:
        return Finding(what, *check())
    except NotRemade as error:
        return Finding(what, None, str(error))
    except (Missing, OSError) as error:  # no repository, no connection, no room
        return Finding(what, None, str(error), missing=True)
    except InputError as error:
        lacking = isinstance(error.__cause__, ImportError)  # of an extra
        return Finding(what, None if lacking else False, str(error), missing=lacking)
    except KeyError as error:
        return Finding(what, False, f"its manifest does not record {error}")
    except _UNUSABLE as error:
        detail = f"what it records cannot be used ({type(error).__name__}: {first_line(error)})"
        return Finding(what, False, detail)


@contextmanager
def _folder(work: str | Path | None) -> Iterator[Path]:
    if work is not None:
        Path(work).mkdir(parents=True, exist_ok=True)
        yield Path(work)
    else:
        with tempfile.TemporaryDirectory(prefix="openprm-") as temporary:
            yield Path(temporary)


def _checks(publication: Publication, folder: Path, num_proc: int) -> Iterator[tuple[str, _Check]]:
    if not publication.repository.is_local:
        yield "commit", lambda: _commit(publication)
    yield "files", lambda: _files(publication)
    yield "card", lambda: (True, check_cards(publication))
    yield "license", lambda: (True, check_license(publication))
    if publication.parts:
        yield "origins", lambda: (True, check_origins(publication))
    if publication.kind in RECORDS:
        yield "what loads", lambda: (True, check_loading(publication))
        read: dict[str, str] = {}
        for part in publication.parts:
            yield f"rows of {part}", partial(_rows, publication, part, read)
        for part in publication.parts:
            yield f"{part}, made again", partial(_made_again, publication, part, folder, num_proc, read)
    if publication.kind in MODELS:
        yield "checkpoint", lambda: _checkpoint(publication, folder)
    if publication.kind == "model":
        yield "code", lambda: (True, check_code(publication, restored(publication, MODEL, folder), folder))
    if "evaluation" in publication.manifest:
        yield "results, measured again", lambda: _measured(publication, folder)
    if publication.kind in MODELS:
        yield "training", _not_trained_again


def _not_trained_again() -> NoReturn:
    raise NotRemade("nothing is trained again: of the weights only the recorded hash is known, nor their metrics")


def _commit(publication: Publication) -> tuple[bool, str]:
    """Without a connection the Hub's library takes what is in its cache, which may be old, and says nothing."""
    there, here = commit(publication.repository, publication.type), publication.folder.name
    if there != here:
        return False, f"{here[:12]}, the Hub has {there[:12]}"
    return True, f"{here[:12]} is what the Hub has"


def _files(publication: Publication) -> tuple[bool, str]:
    if problems := check_files(publication):
        return False, "; ".join(problems)
    return True, f"{len(publication.manifest['files'])} files are those that were published"


def _rows(publication: Publication, part: str, read: dict[str, str]) -> tuple[bool, str]:
    """Enters the hash of the rows, as they were read, in `read`."""
    total, levels, counts = hashlib.sha256(), Counter[str](), CandidateCounts()
    for row in part_rows(publication, part):
        total.update(row_digest(row))
        levels[row.get("level", "")] += 1
        if publication.kind == "candidates":
            counts.add(row)
    found = read[part] = total.hexdigest()
    if found != part_hash(publication, part):
        return False, f"their hash is {found[:12]}..., not {part_hash(publication, part)[:12]}..., as recorded"
    counted = {"all": levels.total(), **levels}
    for config, recorded in publication.manifest.get("rows", {}).items():
        if counted.get(config, 0) != recorded.get(part, 0):
            return False, f"{counted.get(config, 0)} rows of {config}, not {recorded.get(part, 0)}, as recorded"
    if levels.total() != publication.parts[part]["rows"]:
        return False, f"{levels.total()} rows, not {publication.parts[part]['rows']}, as recorded"
    if publication.kind == "candidates" and (wrong := counts.wrong(publication.parts[part])):
        return False, f"the rows have the recorded hash, but {wrong}"
    return True, f"{levels.total()} rows have the recorded hash"


def _made_again(
    publication: Publication, part: str, folder: Path, num_proc: int, read: Mapping[str, str]
) -> tuple[bool, str]:
    made = remake(publication, part, folder, num_proc)
    again = read_manifest(made)
    if again["row_hash"] == part_hash(publication, part) == read.get(part):
        return _counts(publication, part, again)
    logits = publication.parts[part]["parameters"].get("reward", {}).get("kind") == "model"
    near = Counter[str]()
    rebuilt = read_rows(made, RECORDS[publication.kind])
    if logits:
        rebuilt = _near(part_rows(publication, part), rebuilt, near)
    found = first_difference(part_rows(publication, part), rebuilt)
    if found is not None:
        where = _in_file(publication, part, found)
        return False, f"first difference in {where}{_other_versions(publication.parts[part])}"
    if near:
        return True, f"the same, but for the last digits of {near.total()} rewards: another machine's, or batches'"
    return False, "what is published is made again, but the hash that was recorded is another's"


def _counts(publication: Publication, part: str, again: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether what the manifest says beside the rows, and a card repeats, is so.

    Not of rewards: of what was before them their stage counts, too, what is not published.
    """
    recorded = publication.parts[part]
    for name in ("parameters", "counts") if publication.kind != "candidates" else ():
        found = first_difference([recorded[name]], [again[name]])
        if found is not None:
            what = f"{found.field} is {short(found.rebuilt)}, not {short(found.published)}"
            return False, f"the rows are identical, but not what the manifest says of {name}: {what}"
    return True, "identical"


def _near(published: Iterator[Any], rebuilt: Iterator[Any], near: Counter[str]) -> Iterator[dict[str, Any]]:
    """The rows made again, with the published value of every reward that is close to it."""
    for row in rebuilt:
        there = {reward["name"]: reward["value"] for reward in next(published, {"rewards": ()})["rewards"]}
        rewards = []
        for reward in row["rewards"]:
            value = there.get(reward["name"], reward["value"])
            if 0 < abs(value - reward["value"]) <= CLOSE_REWARDS:
                near[reward["name"]] += 1
                reward = {**reward, "value": value}
            rewards.append(reward)
        yield {**row, "rewards": rewards}


def _in_file(publication: Publication, part: str, found: Difference) -> str:
    """A difference with the file that holds its row, which is counted there; the last where there is no such row."""
    import pyarrow.parquet as pq

    name, before, rows = part, 0, 0
    for name in part_files(publication, part):
        before, rows = before + rows, pq.read_metadata(publication.folder / name).num_rows
        if found.row <= before + rows:
            break
    return f"{name}, {replace(found, row=found.row - before)}"


def _other_versions(manifest: Mapping[str, Any]) -> str:
    """What may be the cause: the packages that were of another version then."""
    others = []
    for package, then in manifest.get("versions", {}).items():
        try:
            if package != "python" and version(package) != then:
                others.append(f"{package} {then}, here {version(package)}")
        except PackageNotFoundError:
            others.append(f"{package} {then}, which is not here")
    return f" (made with {'; '.join(others)})" if others else ""


def _checkpoint(publication: Publication, folder: Path) -> tuple[bool, str]:
    restored(publication, MODEL, folder)
    return True, "without what publishing added, it has the recorded hash"


def _measured(publication: Publication, folder: Path) -> tuple[bool, str]:
    evaluation, again = publication.manifest["evaluation"], measure_again(publication, folder)
    rows, published = again["metrics"], {row["method"]: row for row in evaluation["metrics"]}
    for counted in ("prompts", "candidates", "unscored"):
        there, value = evaluation["counts"][counted], again["counts"][counted]
        if there != value:
            return False, f"the manifest counts {counted} as {short(there)}, and they are {short(value)}"
    if missing := published.keys() ^ {row["method"] for row in rows}:
        return (
            False,
            f"{min(missing)!r} is {'not published' if min(missing) not in published else 'not measured again'}",
        )
    widest, where = 0.0, ""
    for row in rows:
        for name, value in row.items():
            there = published[row["method"]].get(name)
            if isinstance(value, str) or there == value:
                continue
            shown = f"{name} of {row['method']!r}: published {short(there)}, measured {short(value)}"
            if not isinstance(there, (int, float)) or not abs(there - value) <= CLOSE:
                return False, f"first difference in {shown}; other hardware differs in the last digits only"
            if abs(there - value) > widest:
                widest, where = abs(there - value), shown
    if widest > EQUAL:
        return True, f"equal to {CLOSE}: other hardware can differ in the last digits ({where})"
    return True, f"{len(rows)} rows, identical"
