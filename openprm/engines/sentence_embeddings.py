"""Embeddings of steps by sentence-transformers, kept on disk by text (needs the extra `embeddings`)."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..hub_id import HubId
from ..runs.folder import batched
from ..runs.manifest import describe_input

_PER_COMMIT = 512  # texts: what a killed run computes again
_TABLE = "CREATE TABLE IF NOT EXISTS embeddings (text BLOB PRIMARY KEY, cut INTEGER, vector BLOB)"


class SentenceEmbeddings:
    """Embeds texts by a model, a folder or Hub id, and keeps the vectors in a file of `folder`.

    They are computed in float64 and kept in float32, so that they depend neither on the batch nor on the machine. The
    model is loaded where a text is new, once a process. `cut` counts the texts of all calls that are longer than the
    model reads: it embeds their beginning.
    """

    def __init__(self, model: str, folder: Path) -> None:
        self._path, self._hash = model, describe_input(model, "embedder")["hash"]
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f"embeddings-{self._hash[:16]}.sqlite"
        self.name = f"{Path(model).name.partition('@')[0]}@{self._hash[:12]}"
        self.cut = 0

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of n texts, [n, dimensions]. Raises InputError where the file is damaged."""
        try:
            return self._vectors(texts)
        except sqlite3.OperationalError:  # a full disk, a lock: nothing is wrong with the file
            raise
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self._file}: {error}; delete it, and it is computed again") from error

    def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        keys = [hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest() for text in texts]
        with closing(sqlite3.connect(self._file, timeout=600)) as database:
            database.execute(_TABLE)

            def read() -> dict[bytes, tuple[bool, bytes]]:
                rows = (database.execute("SELECT * FROM embeddings WHERE text = ?", (key,)).fetchone() for key in keys)
                return {row[0]: row[1:] for row in rows if row}

            there = read()
            new = {key: text for key, text in zip(keys, texts, strict=True) if key not in there}
            for part in batched(new, _PER_COMMIT):
                model = _load(self._path, self._hash)
                some = [new[key].encode(errors="replace").decode() for key in part]  # no tokenizer takes surrogates
                vectors = np.asarray(model.encode(some, show_progress_bar=False), dtype=np.float32)
                cut = (_is_cut(model, text) for text in some)
                rows = zip(part, cut, (vector.tobytes() for vector in vectors), strict=True)
                with database:
                    database.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?)", rows)
            there = read() if new else there
        self.cut += sum(cut for cut, _ in there.values())
        return np.stack([np.frombuffer(there[key][1], dtype=np.float32) for key in keys])


def _is_cut(model: Any, text: str) -> bool:
    most = model.max_seq_length  # tokens, each of a byte at least but the two at the ends
    return bool(most) and len(text.encode()) + 2 > most and len(model.tokenizer(text)["input_ids"]) > most


@lru_cache(maxsize=1)
def _load(path: str, commit: str) -> Any:
    """The model of a folder, or of a Hub id at this commit."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise InputError("embeddings need sentence-transformers: pip install 'openprm[embeddings]'") from error
    from ..models.reward_checkpoint import loading

    hub = None if Path(path).exists() else HubId.parse(path)
    name, revision = (hub.repository, commit) if hub else (path, None)
    with loading(path, "SentenceTransformer"):
        return SentenceTransformer(name, revision=revision).double().eval()
