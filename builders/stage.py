"""What the builders have in common: a stage makes the rows, `datasets` caches and serves them.

The stage's folder lies in the builder's cache until the dataset is prepared, so a killed build goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pyarrow.parquet as pq
from datasets.builder import Key

from openprm.runs.folder import DATA
from openprm.runs.manifest import describe_input
from openprm.schema import features


@dataclass
class StageConfig(datasets.BuilderConfig):
    """Base of the builders' configs. The cache is keyed by the parameters and the contents of the inputs."""

    def inputs(self) -> dict[str, str]:
        """Paths or ids, by role."""
        raise NotImplementedError

    def make(self, out: Path) -> dict[str, Any]:
        """Runs the stage; returns its manifest."""
        raise NotImplementedError

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        content = {role: describe_input(path)["hash"] for role, path in self.inputs().items()}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"{super().create_config_id(config_kwargs, custom_features)}-{digest[:16]}"


class StageBuilder(datasets.ArrowBasedBuilder):
    """A dataset of `RECORD`s with one split, `train`; `num_proc` reads the stage's shards side by side."""

    RECORD: ClassVar[type]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=features(self.RECORD))

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        # beside the cache's own folder, which `datasets` empties when a build fails
        folder = Path(f"{self._cache_dir.rstrip('/')}.stage")
        self.config.make(folder)
        files = sorted(str(path) for path in (folder / DATA).glob("*.parquet"))
        return [datasets.SplitGenerator(name="train", gen_kwargs={"files": files})]

    def _generate_tables(self, files: list[str]) -> Iterator[tuple[Key, Any]]:
        for number, path in enumerate(files):
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    yield Key(number, group), file.read_row_group(group)
