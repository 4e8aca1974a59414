"""States of tokens on disk: each is computed once for every model and run that shares the layers which make it.

A folder holds pieces that appear whole or not at all, so that several processes may add to it, and a killed one loses
the piece it was at. A piece is two files of NumPy: `NAME.states.npy` with one row of bytes for each token, mapped into
memory, and `NAME.keys.npy`, written last, with a hash of the token and all tokens before it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from ..runs.atomic import whole_file
from ..scoring.packing import Pack, pack, shared_length

logger = logging.getLogger(__name__)

_KEYS = ".keys.npy"


def node_keys(one: Pack) -> np.ndarray:
    """A hash, uint64 [tokens of the pack], of each token and those before it.

    Two of ten million are equal by chance with probability 3e-6.
    """
    root = b""
    for token in one.before:
        root = _hash(root, token)
    found: list[bytes] = []
    for token, parent in zip(one.tokens, one.parents, strict=True):
        found.append(_hash(root if parent < 0 else found[parent], token))
    return np.frombuffer(b"".join(found), dtype=np.uint64)


def _hash(before: bytes, token: int) -> bytes:
    return blake2b(before + token.to_bytes(4, "little"), digest_size=8).digest()


class States:
    """The states, of one size and dtype, in the folder."""

    def __init__(self, folder: Path, size: int, dtype: torch.dtype):
        self.folder, self.size, self.dtype = folder, size, dtype
        self._row = size * dtype.itemsize
        self._names: set[str] = set()
        self._pieces: list[Path] = []
        self._mapped = lru_cache(maxsize=256)(partial(np.load, mmap_mode="r"))  # each holds an open file
        # sorted keys, and for each the piece and the row in it
        self._keys, self._places = np.empty(0, np.uint64), np.empty((0, 2), np.int64)
        folder.mkdir(parents=True, exist_ok=True)
        self.refresh()

    def __len__(self) -> int:
        return len(self._keys)

    def refresh(self) -> None:
        """Finds what other processes have added. A piece that is damaged is left out, with a warning."""
        keys, places = [self._keys], [self._places]
        for path in sorted(self.folder.glob(f"*{_KEYS}")):
            if path.name not in self._names:
                self._names.add(path.name)
                states = path.with_name(path.name.replace(_KEYS, ".states.npy"))
                try:
                    found, held = np.load(path), self._mapped(states)
                    if (found.dtype, held.dtype, held.shape) != (np.uint64, np.uint8, (len(found), self._row)):
                        raise ValueError("the two do not fit together")
                except Exception as error:  # files fail in many ways
                    logger.warning("%s, %s: damaged (%s), computed again; delete them", path, states.name, error)
                    continue
                keys.append(found)
                rows = np.arange(len(found))
                places.append(np.stack([np.full_like(rows, len(self._pieces)), rows], axis=1))
                self._pieces.append(states)
        if len(keys) > 1:
            self._keys, first = np.unique(np.concatenate(keys), return_index=True)
            self._places = np.concatenate(places)[first]

    def missing(self, keys: np.ndarray) -> np.ndarray:
        """Which keys have no state, bool [n]."""
        places = np.searchsorted(self._keys, keys)
        known = np.append(self._keys, np.uint64(0))[places] == keys
        return ~(known & (places < len(self._keys)))

    def read(self, keys: np.ndarray) -> Tensor:
        """States [n, size] of keys that have one."""
        places = self._places[np.searchsorted(self._keys, keys)]
        rows = np.empty((len(keys), self._row), np.uint8)
        for piece in np.unique(places[:, 0]):
            chosen = places[:, 0] == piece
            rows[chosen] = self._mapped(self._pieces[piece])[places[chosen, 1]]
        # flat, since a view of no rows at all as another dtype is refused
        return torch.from_numpy(rows.reshape(-1)).view(self.dtype).view(len(keys), self.size)

    def write(self, keys: np.ndarray, states: Tensor) -> None:
        """A piece. Raises ValueError for states that are not finite."""
        kept = states.to(self.dtype)
        if not kept.isfinite().all():
            raise ValueError(f"states of the frozen layers are not finite in {self.dtype}; use another dtype")
        name = uuid4().hex
        for end, array in ((".states.npy", kept.contiguous().view(torch.uint8).cpu().numpy()), (_KEYS, keys)):
            with whole_file(self.folder / f"{name}{end}") as partial, partial.open("wb") as file:
                np.save(file, array)
        self.refresh()


def tries(sequences: Iterable[Sequence[int]], most: int) -> Iterator[list[bytes]]:
    """The distinct sequences in lexicographic order, those together whose trie has at most `most` tokens.

    In this order, what shares a prompt or the first steps of an answer is side by side. Sequences are bytes, which are
    sorted like their tokens, since lists of integers take nine times the memory (see `trie`).
    """
    group: list[bytes] = []
    size, before = 0, list[int]()
    for row in sorted({np.asarray(sequence, dtype=">u4").tobytes() for sequence in sequences}):
        sequence = tokens(row)
        new = len(sequence) - shared_length(before, sequence)
        if group and size + new > most:
            yield group
            group, size, new = [], 0, len(sequence)
        group.append(row)
        size, before = size + new, sequence
    if group:
        yield group


def trie(group: Iterable[bytes]) -> Pack:
    """The pack of sequences from `tries`."""
    return pack([tokens(row) for row in group])


def tokens(row: bytes) -> list[int]:
    """A sequence from `tries`."""
    found: list[int] = np.frombuffer(row, dtype=">u4").tolist()
    return found


def lacking(group: list[bytes], states: States) -> list[bytes]:
    """The sequences of a group with a token that has no state."""
    one = trie(group)
    lacks = states.missing(node_keys(one)).tolist()
    for index, parent in enumerate(one.parents):
        lacks[index] = lacks[index] or (parent >= 0 and lacks[parent])
    return [row for row, end in zip(group, one.ends, strict=True) if lacks[end]]
