"""Files and folders appear whole, for whom the umask lets read them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from openprm.presets.toy_stages import ToyPolicy, ToyPrompts
from openprm.runs.atomic import put_in_place, write_whole
from openprm.schema import Pair
from openprm.stages.train import Train
from tests.folders import dataset
from tests.small_training import pair


def test_what_was_there_is_replaced_as_a_whole(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / ".new").mkdir()
        write_whole(tmp_path / ".new" / name, name)
        put_in_place(tmp_path / ".new", tmp_path / "out")
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


@pytest.mark.parametrize("umask", [0o022, 0o027])
@pytest.mark.parametrize("made", ["model", "checkpoint", "dataset"])
def test_files_have_the_permissions_that_the_umask_gives(tmp_path: Path, base: Path, made: str, umask: int):
    """A temporary file that was renamed is for its owner alone."""
    before = os.umask(umask)
    try:
        if made == "model":
            ToyPolicy(steps=1).run(tmp_path / "out")
        elif made == "dataset":
            ToyPrompts(n=2, split="train").run(tmp_path / "out")
        else:
            pairs = dataset(tmp_path / "pairs", Pair, [pair(index) for index in range(8)])
            Train(pairs={"pairs": str(pairs)}, base=str(base), max_steps=1).run(tmp_path / "out")
    finally:
        os.umask(before)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert modes == dict.fromkeys(modes, oct(0o666 & ~umask))
    assert len(modes) > 3 + (made != "dataset")
