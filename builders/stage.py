"""What the builders share: a stage makes the rows, `datasets` caches and serves them.

The parameters of a builder are those of its stage. The stage's folder lies in the builder's cache until the dataset is
prepared, so a killed build resumes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pyarrow.parquet as pq
from datasets.builder import Key

from openprm.runs.declaration import Stage, options_of
from openprm.runs.folder import DATA
from openprm.runs.manifest import describe_input
from openprm.schema import features


@dataclass
class StageConfig(datasets.BuilderConfig):
    """Base of the builders' configs. The cache is keyed by the parameters and the contents of the inputs."""

    STAGE: ClassVar[type[Stage]]

    def stage(self) -> Stage:
        """The stage with this config's values. Raises ValueError where a required one is missing."""
        values = {field.name: getattr(self, field.name) for field, _ in options_of(self.STAGE)}
        for field, _ in options_of(self.STAGE):
            if values[field.name] is None and _is_required(field):
                raise ValueError(f"give {field.name}: {field.metadata['help']}")
        return self.STAGE(**values)

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        stage = self.stage()
        inputs = {role: describe_input(path, role)["hash"] for role, path in stage.inputs().items()}
        digest = hashlib.sha256(json.dumps([stage.recorded(), inputs], sort_keys=True).encode()).hexdigest()
        return f"{self.name}-{digest[:32]}"


def config_of(stage: type[Stage]) -> type[StageConfig]:
    """The config class whose fields are those of a stage."""
    fields: list[Any] = []
    for field, hint in options_of(stage):
        default = dataclasses.field(default_factory=field.default_factory) if _has_factory(field) else field.default
        fields.append((field.name, hint, None if _is_required(field) else default))
    config = dataclasses.make_dataclass(f"{stage.__name__}Config", fields, bases=(StageConfig,))
    config.STAGE = stage  # type: ignore[attr-defined]
    return config


def _has_factory(field: dataclasses.Field[Any]) -> bool:
    return field.default_factory is not dataclasses.MISSING


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and not _has_factory(field)


class StageBuilder(datasets.ArrowBasedBuilder):
    """A dataset of `RECORD`s with one split, `train`; `num_proc` reads the stage's shards in parallel."""

    RECORD: ClassVar[type]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=features(self.RECORD))

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        # beside the cache's own folder, which `datasets` empties when a build fails
        folder = Path(f"{self._cache_dir.rstrip('/')}.stage")
        self.config.stage().run(folder)
        files = sorted(str(path) for path in (folder / DATA).glob("*.parquet"))
        return [datasets.SplitGenerator(name="train", gen_kwargs={"files": files})]

    def _generate_tables(self, files: list[str]) -> Iterator[tuple[Key, Any]]:
        for number, path in enumerate(files):
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    yield Key(number, group), file.read_row_group(group)
