"""States are found by a token and all tokens before it, whoever wrote them and however a process ended."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openprm.models.trunk_states import States, lacking, node_keys, tokens, trie, tries
from openprm.scoring.packing import pack
from tests.folders import Killed

SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=12)


def sums(one) -> torch.Tensor:
    """What stands for the states of a pack: the sum of the tokens up to each, and their number."""
    found: list[tuple[int, int]] = []
    for token, parent in zip(one.tokens, one.parents, strict=True):
        before = found[parent] if parent >= 0 else (sum(one.before), len(one.before))
        found.append((before[0] + token, before[1] + 1))
    return torch.tensor(found, dtype=torch.float32)


def write(states: States, sequences: list[list[int]]) -> None:
    one = pack(sequences)
    keys = node_keys(one)
    new = states.missing(keys)
    states.write(keys[new], sums(one)[torch.from_numpy(new)])


@settings(deadline=None, max_examples=30)
@given(first=SEQUENCES, second=SEQUENCES, asked=SEQUENCES, most=st.integers(1, 20))
def test_states_are_those_of_the_tokens_before(first, second, asked, most):
    with TemporaryDirectory() as folder:
        states, other = (States(Path(folder), 2, torch.float32) for _ in range(2))
        write(states, first)
        write(other, second)  # each holds what the other has written, after a refresh
        states.refresh()
        known = {tuple(one[: end + 1]) for one in [*first, *second] for end in range(len(one))}
        assert len(states) == len(known)
        one = pack(asked)
        found = ~states.missing(node_keys(one))
        torch.testing.assert_close(states.read(node_keys(one)[found]), sums(one)[torch.from_numpy(found)])
        groups = [*tries(asked, most)]
        assert [tokens(row) for group in groups for row in group] == sorted(map(list, {*map(tuple, asked)}))
        assert all(len(group) == 1 or len(trie(group).tokens) <= most for group in groups)
        unknown = sorted(one for one in {*map(tuple, asked)} if one not in known)
        assert [tuple(tokens(row)) for group in groups for row in lacking(group, states)] == unknown


def test_no_states_are_read_of_no_keys(tmp_path: Path):
    states = States(tmp_path, 3, torch.float32)
    states.write(np.arange(2, dtype=np.uint64), torch.ones(2, 3))
    assert States(tmp_path, 3, torch.float32).read(np.array([], np.uint64)).shape == (0, 3)


def test_a_pack_that_was_cut_has_the_keys_of_the_whole():
    whole = pack([[5, 6, 7, 8], [5, 6, 9]])
    assert (node_keys(whole.without_prefix(1).without_prefix(1)) == node_keys(whole)[2:]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_dtype_is_kept_bit_for_bit(tmp_path: Path, dtype: torch.dtype):
    keys, values = np.arange(5, dtype=np.uint64), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    States(tmp_path, 3, dtype).write(keys, values.to(dtype))
    assert torch.equal(States(tmp_path, 3, dtype).read(keys[[4, 0, 2]]), values.to(dtype)[[4, 0, 2]])


def test_a_killed_process_loses_the_piece_it_was_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    states = States(tmp_path, 2, torch.float32)
    write(states, [[1, 2]])
    save = np.save

    def killed(file, array):
        if array.dtype == np.uint64:
            raise Killed
        save(file, array)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", killed)
        with pytest.raises(Killed):
            write(states, [[1, 2, 3]])
    again = States(tmp_path, 2, torch.float32)
    assert len(again) == 2
    write(again, [[1, 2, 3]])
    assert again.read(node_keys(pack([[1, 2, 3]])))[-1].tolist() == [6, 3]


def test_states_that_are_not_finite_are_no_states(tmp_path: Path):
    with pytest.raises(ValueError, match=r"not finite in torch\.float16; use another dtype"):
        States(tmp_path, 1, torch.float16).write(np.zeros(1, np.uint64), torch.tensor([[7e4]]))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("end", [".keys.npy", ".states.npy"])
@pytest.mark.parametrize("damage", ["empty", "cut", "gone", "shorter", "other"])
def test_a_damaged_piece_is_named_and_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, end: str, damage: str
):
    if (end, damage) == (".keys.npy", "gone"):
        return  # as where a process was killed
    states = States(tmp_path, 2, torch.float32)
    write(states, [[1, 2]])
    (path,) = tmp_path.glob(f"*{end}")
    array = np.load(path)
    if damage == "gone":
        path.unlink()
    elif damage in ("empty", "cut"):
        path.write_bytes(path.read_bytes()[: -1 if damage == "cut" else 0])
    else:
        np.save(path, array[:1] if damage == "shorter" else array.astype(np.float32))
    write(states, [[5]])
    again = States(tmp_path, 2, torch.float32)
    assert len(again) == 1
    assert f"{path.name.removesuffix(end)}.states.npy: damaged" in caplog.text
    write(again, [[1, 2]])
    last = States(tmp_path, 2, torch.float32)
    assert last.read(node_keys(pack([[1, 2]]))).tolist() == [[1, 1], [3, 2]]
