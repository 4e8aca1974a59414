"""A stage is declared once: a dataclass whose fields are its parameters, each with type, default and help.

    @dataclass(frozen=True, kw_only=True)
    class Trees(Stage, kind="trees"):
        \"\"\"Merge the responses to each prompt into a preference tree.\"\"\"

        candidates: str = input_path("Candidates: a file, a dataset or a folder.")
        threshold: float = parameter("Least similarity of steps that merge.", 0.88)

        def work(self, folder: Path) -> Mapping[str, Any]: ...

The command line, the keys of a preset, the manifest and the command that rebuilds an artifact follow from the fields.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..errors import InputError
from .manifest import Part, run_stage

#: The stages that are known, by kind; a stage is known once its module is imported.
STAGES: dict[str, type[Stage]] = {}


def parameter(help: str, default: Any = MISSING, **more: Any) -> Any:
    """A field that the result depends on: it is recorded in the manifest.

    `above`: what a number must be larger than. The rest is about the command line alone: `flag` (the option's name,
    where it is not the field's), `argument` (without a name), `escapes` (`\\n` is typed as two characters), `file`
    (`@FILE` is what the file holds).
    """
    return _field(help, default, "parameter", more)


def input_path(help: str, default: Any = MISSING, **more: Any) -> Any:
    """A field that names a file, a folder or a Hub id, or several by name: the manifest records its content's hash."""
    return _field(help, default, "input", more)


def execution(help: str, default: Any = MISSING, **more: Any) -> Any:
    """A field about how the work is done (processes, retries), which the result does not depend on."""
    return _field(help, default, "execution", more)


def _field(help: str, default: Any, role: str, more: Mapping[str, Any]) -> Any:
    metadata = {"help": help, "role": role, **more}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Stage(ABC):
    """Reads datasets or models and writes one folder with a manifest."""

    kind: ClassVar[str]
    #: Keys of the manifest's parameters that follow from the fields.
    derived: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, kind: str | None = None) -> None:
        super().__init_subclass__()
        if kind is not None:
            cls.kind = kind
            STAGES[kind] = cls

    def __post_init__(self) -> None:
        """Raises InputError for a value that cannot be."""
        for field in dataclasses.fields(self):
            least, value = field.metadata.get("above"), getattr(self, field.name)
            if least is not None and value is not None and not value > least:
                raise InputError(f"--{field.name.replace('_', '-')} is {value}; make it more than {least}")

    @abstractmethod
    def work(self, folder: Path) -> Mapping[str, Any]:
        """Writes the result into `folder`, which may hold the finished part of a killed run; returns what the manifest
        says of it (see `openprm.runs.manifest.run_stage`)."""

    def inputs(self) -> dict[str, str]:
        """What the stage reads, by role: a field's name, or the names in its mapping (in a second one FIELD/NAME)."""
        found: dict[str, str] = {}
        for name in input_names(type(self)):
            value = getattr(self, name)
            prefix = f"{name}/" if name in _input_mappings(type(self))[1:] else ""
            for role, path in value.items() if isinstance(value, Mapping) else [(name, value)]:
                if prefix + role in found:
                    raise InputError(f"two inputs are called {role!r}; give one of them another name")
                if path is not None:
                    found[prefix + role] = str(path)
        return found

    def recorded(self) -> dict[str, Any]:
        """What the result is determined by besides its inputs, as JSON; what is not given is left out."""
        values = {field.name: getattr(self, field.name) for field in _fields(type(self), "parameter")}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value not in (None, (), [], {})
        }

    @property
    def part(self) -> Part | None:
        """The part of the shards that this run computes; None: all, and finishes the result."""
        return None

    def run(self, out: str | Path, *, force: bool = False, replace: bool = False) -> dict[str, Any]:
        """Makes the folder `out` and returns its manifest; does nothing where it is there already.

        The manifest is empty where only a `part` is made. `force` makes it again, `replace` only where it was made
        with other parameters. Raises InputError as `openprm.runs.manifest.run_stage` does.
        """
        return run_stage(
            out,
            self.kind,
            self.recorded(),
            self.inputs(),
            self.work,
            force=force,
            replace=replace,
            part=self.part,
        )


def options_of(stage: type[Stage]) -> list[tuple[dataclasses.Field[Any], Any]]:
    """The fields of a stage with their types, its own before those it shares with others."""
    hints = typing.get_type_hints(stage)
    own = inspect.get_annotations(stage)
    fields = sorted(dataclasses.fields(stage), key=lambda field: field.name not in own)
    return [(field, hints[field.name]) for field in fields]


def make_stage(kind: str, values: Mapping[str, Any], where: str) -> Stage:
    """The stage of a kind with these values, as YAML gives them.

    Raises InputError, which begins with `where`, for an unknown or missing key (with the nearest name there is) and
    for a value of another type.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    options = {field.name: (field, hint) for field, hint in options_of(stage_kind(kind, where))}
    checked = {}
    for name, value in values.items():
        if name not in options:
            raise InputError(f"{where}: {kind} has no parameter {name!r}{nearest(name, options)}")
        try:
            adapter = TypeAdapter(options[name][1], config=ConfigDict(coerce_numbers_to_str=True))
            checked[name] = adapter.validate_python(value)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise InputError(f"{where}: {name} is {value!r}: {said}") from None
    for name, (field, _) in options.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where}: {kind} needs `{name}`: {field.metadata['help']}")
    return STAGES[kind](**checked)


def stage_kind(kind: Any, where: str) -> type[Stage]:
    """The stages of a kind. Raises InputError, which begins with `where`, where there is none."""
    if not isinstance(kind, str) or kind not in STAGES:
        raise InputError(f"{where}: there is no stage {kind!r}{nearest(kind, STAGES)}")
    return STAGES[kind]


def stage_from_manifest(manifest: Mapping[str, Any], inputs: Mapping[str, str | Path]) -> Stage:
    """The stage that a manifest describes, to be run on `inputs` (by role, as the manifest has them).

    Raises InputError where the manifest describes none, or one that would run code from the Hub.
    """
    kind, parameters = manifest.get("stage"), manifest.get("parameters")
    if kind not in STAGES or not isinstance(parameters, Mapping):
        raise InputError(f"the manifest describes no stage of this version (stage: {kind!r})")
    if parameters.get("trust_remote_code"):
        raise InputError("it was made with --trust-remote-code, and code from the Hub is not run here")
    values: dict[str, Any] = {key: value for key, value in parameters.items() if key not in STAGES[kind].derived}
    known, mappings = input_names(STAGES[kind]), _input_mappings(STAGES[kind])
    for role, path in inputs.items():
        mapping, _, name = role.partition("/")
        if mapping in mappings[1:]:
            values.setdefault(mapping, {})[name] = str(path)
        elif role in known and role not in mappings:
            values[role] = str(path)
        elif mappings:
            values.setdefault(mappings[0], {})[role] = str(path)
        else:
            raise InputError(f"its manifest: {kind} has no input {role!r}{nearest(role, known)}")
    return make_stage(kind, values, "its manifest")


def input_names(stage: type[Stage]) -> list[str]:
    """The fields that name what a stage reads."""
    return [field.name for field in _fields(stage, "input")]


def _input_mappings(stage: type[Stage]) -> list[str]:
    hints = typing.get_type_hints(stage)
    return [name for name in input_names(stage) if typing.get_origin(hints[name]) is dict]


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """`; did you mean 'x'?`, or all the names where none is near."""
    names = [*known]
    close = difflib.get_close_matches(str(name), names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(names))}"


def _fields(stage: type[Stage], role: str) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(stage) if field.metadata["role"] == role]
