"""What the builders share: a stage makes the rows, `datasets` caches and serves them.

The parameters of a builder are those of its stage. The stage's folder lies in the builder's cache until the dataset is
prepared, so a killed build resumes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pyarrow.parquet as pq
from datasets.builder import Key

from openprm.runs.declaration import Stage, make_stage, options_of
from openprm.runs.folder import DATA
from openprm.runs.manifest import describe_input
from openprm.schema import features


@dataclass
class StageConfig(datasets.BuilderConfig):
    """Base of the builders' configs. The cache is keyed by the parameters and the contents of the inputs."""

    STAGE: ClassVar[type[Stage]]

    def stage(self) -> Stage:
        """The stage with this config's values. Raises InputError where one is missing or of another type."""
        values = {field.name: getattr(self, field.name) for field, _ in options_of(self.STAGE)}
        given = {name: value for name, value in values.items() if value is not None}
        return make_stage(self.STAGE.kind, given, "the builder")

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        stage = self.stage()
        inputs = {role: describe_input(path, role)["hash"] for role, path in stage.inputs().items()}
        digest = hashlib.sha256(json.dumps([stage.recorded(), inputs], sort_keys=True).encode()).hexdigest()
        return f"{self.name}-{digest[:32]}"


def _config_of(stage: type[Stage]) -> type[StageConfig]:
    """The config class whose fields are those of a stage."""
    fields: list[Any] = []
    for field, hint in options_of(stage):
        required = field.default is field.default_factory is MISSING
        default = None if required else field.default
        if field.default_factory is not MISSING:
            default = dataclasses.field(default_factory=field.default_factory)
        fields.append((field.name, hint, default))
    return dataclasses.make_dataclass(
        f"{stage.__name__}Config", fields, bases=(StageConfig,), namespace={"STAGE": stage}
    )


class StageBuilder(datasets.ArrowBasedBuilder):
    """The `RECORD`s of a `STAGE` as one split, `train`; `num_proc` reads the stage's shards in parallel.

    DECLARED: the datasets of the paper that the stage knows, a config each.
    """

    VERSION = datasets.Version("1.0.0")
    STAGE: ClassVar[type[Stage]]
    RECORD: ClassVar[type]
    DECLARED: ClassVar[Iterable[str]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        config = cls.BUILDER_CONFIG_CLASS = _config_of(cls.STAGE)
        cls.BUILDER_CONFIGS = [config(name=name, version=cls.VERSION, declared=name) for name in cls.DECLARED]

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
