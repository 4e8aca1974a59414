"""Publications verified: whole ones, and each kind of damage."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.hub.publication import open_publication, part_rows
from openprm.runs.folder import read_rows, rows_hash
from openprm.schema import Candidate
from openprm.stages.reward import RewardResponses
from openprm.verify.verify import DIFFERS, IDENTICAL, NOT_REBUILDABLE, UNCHECKED, Check, exit_code, verify
from tests.folders import Killed, candidate, dataset, kill
from tests.publication import change_manifest, change_rows, list_files, publish


@pytest.fixture
def owner(run: Path, tmp_path: Path) -> Path:
    return publish(run, tmp_path / "hub" / "owner", run / "openprm")


def verified(folder: Path, work: Path | None = None) -> dict[str, Check]:
    return {check.what: check for check in verify(folder, work)}


def results(checks: dict[str, Check]) -> dict[str, str]:
    return {what: check.result for what, check in checks.items()}


def rebuilt(folder: Path, part: str = "train") -> Check:
    return verified(folder)[f"{part}: rebuilt"]


def unlike(checks: dict[str, Check]) -> dict[str, str]:
    return {what: result for what, result in results(checks).items() if result != IDENTICAL}


@pytest.mark.parametrize("kind", ["candidates", "trees", "pairs"])
def test_a_dataset_is_verified(owner: Path, kind: str):
    checks = [*verify(owner / kind)]
    splits = [f"{split}: {what}" for split in ("train", "test") for what in ("rows", "load_dataset", "rebuilt")]
    assert [check.what for check in checks] == ["files", *splits]
    assert {check.result for check in checks} == {IDENTICAL}, [*map(str, checks)]
    assert exit_code(checks) == 0
    assert str(checks[3]) == "train: rebuilt: identical"


def test_a_model_is_verified(owner: Path):
    checks = verified(owner / "openprm")
    assert results(checks) == dict.fromkeys(("files", "checkpoint", "from_pretrained", "scoring code"), IDENTICAL)
    (owner / "openprm" / "config.json").write_text("{}")
    checks = verified(owner / "openprm")
    assert {check.result for check in checks.values()} == {DIFFERS}
    assert checks["files"].detail.startswith("config.json was changed")
    assert "it does not load" in checks["from_pretrained"].detail


def test_a_demo_is_verified_by_its_files(owner: Path):
    change_manifest(owner / "trees", lambda manifest: manifest.update(kind="demo", parts={}))
    assert results(verified(owner / "trees")) == {"files": IDENTICAL}


Rows = list[dict[str, Any]]
CHANGED: dict[str, tuple[str, Callable[[Rows], Any], str]] = {
    "a value": (
        "trees/data",
        lambda rows: rows[1]["nodes"][2].update(value=7.25),
        "0 added, 0 removed, 1 changed\n  prompt 'train-2', nodes[2].value: 7.25 -> ",
    ),
    "a reward": (
        "candidates/data",
        lambda rows: rows[1]["rewards"][0].update(value=1.0),
        "prompt 'train-0', sample 1, rewards[0].value: 1.0 -> 0.0",
    ),
    "a missing row": ("pairs/outcome", lambda rows: rows.pop(), "1 added, 0 removed, 0 changed"),
    "a surplus row": ("pairs/outcome", lambda rows: rows.append(rows[-1]), "0 added, 1 removed, 0 changed"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_row_is_located(owner: Path, name: str):
    folder, change, found = CHANGED[name]
    change_rows(owner / folder / "train-00000.parquet", change)
    checks = verified((owner / folder).parent)
    assert unlike(checks) == dict.fromkeys(("train: rows", "train: load_dataset", "train: rebuilt"), DIFFERS)
    assert found in checks["train: rebuilt"].detail
    assert exit_code(checks.values()) == 1


def test_a_change_is_found_where_the_hashes_were_changed_too(owner: Path):
    file = owner / "pairs" / "process" / "train-00000.parquet"
    change_rows(file, lambda rows: rows[0].update(gap=0.75))
    fitting = rows_hash(part_rows(open_publication(owner / "pairs"), "train"))
    _train(lambda part: part.update(row_hash=fitting))(owner / "pairs")
    checks = verified(owner / "pairs")
    assert unlike(checks) == {"train: rebuilt": DIFFERS}
    assert ", gap: 0.75 -> " in checks["train: rebuilt"].detail


def test_a_damaged_file_stops_no_other_check(owner: Path):
    file = owner / "trees" / "data" / "train-00000.parquet"
    file.write_bytes(file.read_bytes()[:-50])
    checks = verified(owner / "trees")
    splits = ("train: rows", "train: load_dataset", "train: rebuilt")
    assert unlike(checks) == dict.fromkeys(("files", *splits), DIFFERS)
    assert "data/train-00000.parquet is damaged" in checks["train: rows"].detail


def test_a_split_whose_input_is_not_published_is_not_rebuilt(owner: Path):
    change_rows(owner / "trees" / "data" / "train-00000.parquet", lambda rows: rows.pop())
    found = rebuilt(owner / "pairs")
    assert (found.result, "is not what its manifest says" in found.detail) == (UNCHECKED, True)
    shutil.rmtree(owner / "candidates")
    checks = verified(owner / "trees")
    assert checks["test: rebuilt"].result == UNCHECKED
    assert "there is no such folder" in checks["test: rebuilt"].detail
    assert exit_code([checks["test: rebuilt"]]) == 2


NOT_REBUILT: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "sampled": ("candidates", lambda part: part.update(stage="sampling"), "'sampling' is not determined"),
    "judged": ("candidates", lambda part: part["parameters"].update(by="judge"), "by: judge"),
    "of remote code": (
        "candidates",
        lambda part: part["parameters"].update(by="model", trust_remote_code=True),
        "remote code is not run here",
    ),
    "preferences": ("pairs", lambda part: part.update(inputs={"preferences": {"hash": "0" * 64}}), "others gave"),
}


@pytest.mark.parametrize("name", NOT_REBUILT)
def test_what_no_published_artifact_determines_is_not_rebuilt(owner: Path, name: str):
    kind, change, message = NOT_REBUILT[name]
    _train(change)(owner / kind)
    checks = verified(owner / kind)
    assert unlike(checks) == {"train: rebuilt": NOT_REBUILDABLE}
    assert message in checks["train: rebuilt"].detail
    assert exit_code(checks.values()) == 0


def test_finished_work_is_not_repeated(owner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    work = tmp_path / "work"
    with monkeypatch.context() as patch:
        patch.setattr("openprm.stages.pairs.tree_pairs", kill)
        with pytest.raises(Killed):
            verified(owner / "pairs", work)
    assert not unlike(verified(owner / "pairs", work))
    logs = {log: log.read_text() for log in work.glob("*/log.jsonl")}
    assert logs
    monkeypatch.setattr("openprm.stages.pairs.tree_pairs", kill)
    assert not unlike(verified(owner / "pairs", work))
    assert {log: log.read_text() for log in work.glob("*/log.jsonl")} == logs


def test_no_name_in_a_manifest_becomes_a_path(owner: Path, tmp_path: Path):
    def escape(manifest: dict[str, Any]) -> None:
        for part in manifest["parts"].values():
            for entry in part["inputs"].values():
                entry["name"] = "../../escaped"

    for kind in ("trees", "pairs", "openprm"):
        change_manifest(owner / kind, escape)
        assert not unlike(verified(owner / kind, tmp_path / "a" / "b" / "work"))
    assert not (tmp_path / "a" / "escaped").exists()
    change_manifest(owner / "trees", lambda manifest: manifest["parts"].update({"../x": manifest["parts"]["train"]}))
    with pytest.raises(InputError, match="damaged"):
        verified(owner / "trees")


def test_the_rewards_of_a_model_are_computed_again(run: Path, tmp_path: Path):
    rows = [candidate("p", index, text) for index, text in enumerate(["It is 5", "It is 6", "No idea", ""])]
    mine = tmp_path / "run"
    dataset(mine / "samples", Candidate, rows)
    for end in ("", "-test"):
        stage = RewardResponses(candidates=str(mine / "samples"), by="model", model=str(run / "openprm"), name="orm")
        stage.run(mine / f"candidates{end}")
        for kind in ("trees", "labels", "pairs"):
            shutil.copytree(run / f"{kind}{end}", mine / f"{kind}{end}")
    owner = publish(mine, tmp_path / "hub")
    assert rebuilt(owner / "candidates").result == UNCHECKED  # its model is not published
    owner = publish(mine, tmp_path / "with-model", run / "openprm")
    file = owner / "candidates" / "data" / "train-00000.parquet"
    value = next(part_rows(open_publication(owner / "candidates"), "train"))["rewards"][0]["value"]
    change_rows(file, lambda rows: rows[0]["rewards"][0].update(value=value + 1e-5))
    assert rebuilt(owner / "candidates").detail == "rewards within 0.0001"
    change_rows(file, lambda rows: rows[0]["rewards"][0].update(value=value + 1e-2))
    assert "prompt 'p', sample 0, rewards[0].value: " in rebuilt(owner / "candidates").detail


def test_a_second_reward_is_computed_again_beside_the_first(run: Path, tmp_path: Path):
    mine = shutil.copytree(run, tmp_path / "run")
    for end in ("", "-test"):
        shutil.rmtree(mine / f"candidates{end}")
        stage = RewardResponses(candidates=str(run / f"candidates{end}"), by="stated", name="strict")
        stage.run(mine / f"candidates{end}")
    assert any("unparsable" in row["marks"] for row in read_rows(mine / "candidates"))
    assert not unlike(verified(publish(mine, tmp_path / "hub") / "candidates"))


def test_a_full_disk_says_nothing_about_a_publication(owner: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("openprm.runs.folder.os.replace", full)
    found = rebuilt(owner / "trees")
    assert (found.result, "No space left" in found.detail) == (UNCHECKED, True)


def test_a_missing_extra_leaves_the_check_open(owner: Path, monkeypatch: pytest.MonkeyPatch):
    def lacking(*_: Any, **__: Any) -> None:
        raise InputError("needs the extra") from ImportError()

    monkeypatch.setattr("openprm.stages.reward.make_rewarder", lacking)
    assert rebuilt(owner / "candidates").result == UNCHECKED


def _train(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda folder: change_manifest(folder, lambda manifest: change(manifest["parts"]["train"]))


def _text(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
        list_files(folder)

    return change


def _serve(folder: Path) -> None:
    shutil.copytree(folder / "data", folder / "served")
    change_rows(folder / "served" / "train-00000.parquet", lambda rows: rows.reverse())
    _text("README.md", "path: data/train", "path: served/train")(folder)


#: Changes whose hashes were made to fit: the repository, the change, the check that finds it, and words of its detail.
FORGED: dict[str, tuple[str, Callable[[Path], None], str, str]] = {
    "other folder": ("trees", _serve, "train: load_dataset", "the hash of the rows"),
    "elsewhere": ("trees", _text("README.md", "path: data/", "path: /x/"), "train: load_dataset", "does not load"),
    "other default": (
        "pairs",
        _text("README.md", "- config_name: process\n", "- config_name: process\n  default: true\n"),
        "train: load_dataset",
        "several default configs",
    ),
    "no card": ("trees", lambda folder: (folder / "README.md").unlink(), "files", "README.md is missing"),
    "code": ("openprm", _text("pipeline.py", "import", "import os\nimport"), "scoring code", "pipeline.py is not"),
    "pipeline": (
        "openprm",
        _text("config.json", "pipeline.Open", "evil--x.Open"),
        "scoring code",
        "config.json is not",
    ),
    "no input": ("trees", _train(lambda part: part.update(inputs={})), "train: rebuilt", "`candidates`"),
    "bad hash": (
        "trees",
        _train(lambda part: part["inputs"]["candidates"].update(hash=0)),
        "train: rebuilt",
        "input 'candidates' is not a hash",
    ),
    "a wrong type": (
        "trees",
        _train(lambda part: part["parameters"].update(threshold="high")),
        "train: rebuilt",
        "threshold is 'high'",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_publication_differs(owner: Path, name: str):
    kind, change, what, words = FORGED[name]
    change(owner / kind)
    found = verified(owner / kind)[what]
    assert found.result == DIFFERS
    assert words in found.detail


def test_scoring_code_of_another_version_is_left_open(owner: Path):
    change_manifest(owner / "openprm", lambda manifest: manifest.update(published_by="openprm 0.0.1"))
    assert not unlike(verified(owner / "openprm"))
    _text("pipeline.py", "import", "import os\nimport")(owner / "openprm")
    found = verified(owner / "openprm")["scoring code"]
    assert (found.result, "openprm 0.0.1, this is" in found.detail) == (UNCHECKED, True)
