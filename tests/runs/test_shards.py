"""Work in shards: nothing is lost, doubled or mixed by kills, failures and parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import Failure, InputError
from openprm.runs.dataset import Rejections, finish_dataset
from openprm.runs.folder import REJECTED, read_rows
from openprm.runs.manifest import WORK, Part, run_stage
from openprm.runs.shards import Items, Made, Shards, Work, added, compute_missing, status, write_dataset
from openprm.schema import Prompt

from ..answers import content
from ..folders import Killed

SHARDS = [["a", "b"], ["c", "d"], ["e"]]


def row(name: str, answer: str | None = None) -> dict[str, Any]:
    question = [{"role": "user", "content": name}]
    return {"schema_version": 1, "prompt_id": name, "source": "s", "question": question, "reference": answer}


class Answering:
    """Answers the names of `SHARDS` by themselves, two shards at a time and the second first.

    Fails for those in `down`, and dies at the shard of `kill_at`. asked: what it was asked.
    """

    def __init__(self, down: str = "", kill_at: str = "", transient: bool = True) -> None:
        self.down, self.kill_at, self.transient = down, kill_at, transient
        self.asked = ""

    def __call__(
        self, taken: Iterable[tuple[int, Items]], report: Callable[[int, int], None]
    ) -> Iterator[tuple[int, list[Made]]]:
        held: list[tuple[int, list[Made]]] = []
        for index, items in taken:
            held.append((index, [self.made(item["prompt_id"]) for item in items]))
            if len(held) == 2:
                yield held.pop()
                yield held.pop()
        yield from held

    def made(self, name: str) -> Made:
        if name == self.kill_at:
            raise Killed
        self.asked += name
        if name in self.down:
            return Made([], Failure("it is down", "start it", self.transient))
        return Made([row(name, name.upper()), row(name, name * 2)])


def stage(out: Path, compute: Any = None, *, seed: int = 0, **options: Any) -> dict[str, Any]:
    part, allowed = options.get("part"), options.pop("allow_failures", False)
    work = Work(
        name="answer",
        unit="prompts",
        source="names",
        total=5,
        per_shard=2,
        shards=lambda: [[row(name) for name in shard] for shard in SHARDS],
        compute=compute or Answering(),
        key=lambda row: row["prompt_id"],
        count=lambda rows: {"letters": {row["reference"][0]: 1 for row in rows}, "rows": len(rows)},
    )

    def make(folder: Path) -> dict[str, Any]:
        shards = Shards(folder, Prompt)
        compute_missing(shards, work, part, strict=options.get("strict", False))
        if part:
            return {}
        rejections = Rejections(folder / REJECTED)
        digests, notes = write_dataset(folder, shards, rejections, "names", per_file=3, allow_failures=allowed)
        return finish_dataset(folder, Prompt, "prompts", digests, added(notes))

    known = {key: value for key, value in options.items() if key != "strict"}
    return run_stage(out, "answers", {"seed": seed}, {}, make, **known)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    stage(tmp_path / "whole")
    return tmp_path / "whole"


def test_the_rows_of_all_shards_in_order(whole: Path):
    assert [row["reference"] for row in read_rows(whole)] == "A aa B bb C cc D dd E ee".split()
    assert [path.name for path in sorted((whole / "data").iterdir())] == [
        "train-00000.parquet",
        "train-00001.parquet",
        "train-00002.parquet",
    ]
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["counts"] == {"letters": dict.fromkeys("AaBbCcDdEe", 1), "rows": 10}
    assert manifest["rows"] == 10


def test_a_killed_run_computes_what_is_missing(tmp_path: Path, whole: Path):
    with pytest.raises(Killed):
        stage(tmp_path / "out", Answering(kill_at="e"))
    resumed = Answering()
    stage(tmp_path / "out", resumed)
    assert resumed.asked == "e"
    assert content(tmp_path / "out") == content(whole)


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_shard_is_computed_again(tmp_path: Path, whole: Path, damage: str):
    with pytest.raises(Killed):
        stage(tmp_path / "out", Answering(kill_at="e"))
    shard = tmp_path / ".out.partial" / WORK / "00001.parquet"
    there = shard.read_bytes()
    shard.write_bytes({"cut": there[: len(there) // 2], "empty": b"", "other": b"PAR1 no PAR1"}[damage])
    resumed = Answering()
    stage(tmp_path / "out", resumed)
    assert resumed.asked == "cde"
    assert content(tmp_path / "out") == content(whole)


def test_what_failed_is_retried_alone(tmp_path: Path, whole: Path):
    with pytest.raises(InputError, match="2 failed that a retry may fix, the first: b: it is down; start it"):
        stage(tmp_path / "out", Answering(down="bd"))
    again = Answering(down="d")
    with pytest.raises(InputError, match=r"1 failed.*--allow-failures"):
        stage(tmp_path / "out", again)
    assert again.asked == "bd"
    manifest = stage(tmp_path / "out", Answering(down="d"), allow_failures=True)
    assert [row["prompt_id"] for row in read_rows(tmp_path / "out")] == list("aabbccee")
    listed = json.loads((tmp_path / "out" / "rejected.jsonl").read_text())
    assert listed == {"key": "d", "reason": "it is down", "remedy": "start it"}
    assert manifest["counts"]["rows"] == 8


def test_what_no_retry_can_mend_is_listed_at_once(tmp_path: Path):
    assert stage(tmp_path / "out", Answering(down="a", transient=False))["rows"] == 8
    with pytest.raises(InputError, match=r"a: it is down; start it \(stopped by --strict\)"):
        stage(tmp_path / "strict", Answering(down="a", transient=False), strict=True)


def test_where_nothing_could_be_made_nothing_is_in_the_way(tmp_path: Path):
    with pytest.raises(InputError, match="names: there is no result to write; 5 rows were rejected, 5 of them"):
        stage(tmp_path / "out", Answering(down="abcde", transient=False))
    assert stage(tmp_path / "out", seed=1)["rows"] == 10


def test_parts_computed_in_one_folder_or_copied_together(tmp_path: Path, whole: Path):
    parts = [Answering() for _ in range(3)]
    for index, part in enumerate(parts, 1):
        assert stage(tmp_path / str(index % 2) / "out", part, part=Part(index, 3)) == {}
    assert [part.asked for part in parts] == ["ab", "cd", "e"]
    partial = Path(".out.partial")
    shutil.copytree(tmp_path / "0" / partial, tmp_path / "1" / partial, dirs_exist_ok=True)
    last = Answering()
    stage(tmp_path / "1" / "out", last)
    assert last.asked == ""
    assert content(tmp_path / "1" / "out") == content(whole)


def test_the_failures_of_a_part_are_retried_by_that_part_or_the_whole(tmp_path: Path, whole: Path):
    stage(tmp_path / "out", Answering(down="ac"), part=Part(1, 2))
    stage(tmp_path / "out", Answering(down="c"), part=Part(2, 2))
    again = Answering()
    stage(tmp_path / "out", again, part=Part(1, 2))
    assert again.asked == "a"
    stage(tmp_path / "out")
    assert content(tmp_path / "out") == content(whole)


def test_how_far_it_is_from_outside(tmp_path: Path):
    assert status(tmp_path / "out") is None
    stage(tmp_path / "out", Answering(down="b"), part=Part(1, 2))
    progress, failed, state = status(tmp_path / "out") or []
    assert progress.startswith("answer: prompts 3/3")
    assert progress.endswith(" s ago)")
    assert failed.split(maxsplit=1) == ["1", "it is down"]
    assert state.startswith("2 shards finished in ")
    assert state.endswith("not running; the same command resumes it")


def test_a_full_disk_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        if list((tmp_path / ".out.partial" / WORK).glob("*.parquet")):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("openprm.runs.shards.os.fsync", full)
        with pytest.raises(InputError, match=r"00000\.parquet cannot be written .*what is finished is kept"):
            stage(tmp_path / "out")
    assert not list((tmp_path / ".out.partial" / WORK).glob("*.partial"))
    resumed = Answering()
    stage(tmp_path / "out", resumed)
    assert resumed.asked == "abe"
