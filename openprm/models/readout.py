"""Where a model says how good a step is: its readout, declared with the model and never guessed from its name.

    model: peiyi9979/math-shepherd-mistral-7b-prm
    readout: {kind: marker, text: " ки", head: tokens, positive: "+", negative: "-"}
    separator: "\\n"

A YAML file declares somebody else's model so; a checkpoint of one's own records the same keys, without `model`, under
the key `openprm` of its config.json. A model that declares nothing is read at the end of every prefix. docs/models.md
shows the readouts of public models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import InputError
from ..hub_id import HubId
from ..runs.declaration import nearest
from ..scoring.aggregation import DEFAULT_AGGREGATION
from ..scoring.units import Unit


class Readout(BaseModel):
    """Base of all readouts. aggregation: of step rewards, where none is declared. beside: keys of more models."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    aggregation: ClassVar[str] = DEFAULT_AGGREGATION
    beside: ClassVar[tuple[str, ...]] = ()

    @property
    def unit(self) -> Unit:
        """Of the rewards, where none is declared."""
        return "log-odds"


class Ends(Readout):
    """The logit of a sequence-classification head with one label at the end of every prefix: a plain reward model."""

    kind: Literal["ends"] = "ends"

    @property
    def unit(self) -> Unit:
        return "strength"


class Marker(Readout):
    """At a marker token behind each step; the markers of earlier steps stay in the context.

    text: the marker, one token. between: text after each marker but the last. head: `classes` (a head's logits of
    classes: Qwen2.5-Math-PRM, TRL), `tokens` (the language model's of two tokens: Math-Shepherd) or `value` (a head
    with one output: Skywork). positive, negative: the two classes or tokens; of two classes, negative is the other.
    weights, file: where the head is (see `engines.base.Head`). apart: question, steps and markers were tokenized each
    alone in training (TRL, Skywork), not as one text.
    """

    kind: Literal["marker"]
    text: str = Field(min_length=1)
    head: Literal["classes", "tokens", "value"]
    between: str = ""
    positive: int | str | None = None
    negative: int | str | None = None
    weights: str = "score"
    file: str | None = None
    apart: bool = False

    @property
    def unit(self) -> Unit:
        return "value" if self.head == "value" else "log-odds"

    @model_validator(mode="after")
    def _checked(self) -> Marker:
        wanted, said = {
            "classes": (
                int,
                "`positive`, the number of the class of right steps; of three or more `negative` too",
            ),
            "tokens": (str, "two tokens, as texts: `positive` and `negative`"),
            "value": (type(None), "neither `positive` nor `negative`"),
        }[self.head]
        given = [self.positive, *([] if self.head == "classes" and self.negative is None else [self.negative])]
        if not all(isinstance(one, wanted) for one in given):
            raise ValueError(f"head `{self.head}` takes {said}")
        return self


class Turns(Readout):
    """Each step is a turn of the user's, and an assistant's turn of one token is the verdict: RLHFlow's models.

    join: between the question and the first step, which share a turn. Earlier turns of the assistant are `positive`.
    """

    kind: Literal["turns"]
    positive: str = "+"
    negative: str = "-"
    join: str = " "


class Question(Readout):
    """Yes against No behind a question about each prefix: generative verifiers.

    prompt: the user's message, with {question} and {response} in it. critique: the model writes one first, of at most
    so many tokens (greedy). verdict: the answer's text before Yes or No, behind the critique.
    """

    kind: Literal["question"]
    prompt: str
    positive: str = "Yes"
    negative: str = "No"
    critique: int | None = Field(None, gt=0)
    verdict: str = ""

    @model_validator(mode="after")
    def _checked(self) -> Question:
        if missing := [part for part in ("{question}", "{response}") if part not in self.prompt]:
            raise ValueError(f"`prompt` lacks {' and '.join(missing)}")
        return self


class LogProbability(Readout):
    """Of the response's tokens, without the end of turn. of: each `step`'s own, or the `prefix`'s up to its end.

    per_token: the mean over tokens in place of the sum.
    """

    aggregation = "last"
    of: Literal["step", "prefix"] = "prefix"
    per_token: bool = False

    @property
    def unit(self) -> Unit:
        return "log-ratio"


class Likelihood(LogProbability):
    """The log-probability under one causal model: a baseline."""

    kind: Literal["likelihood"]


class Density(LogProbability):
    """The log-density ratio of the model, the strong one, and a weak one (CDR)."""

    beside = ("weak",)
    kind: Literal["density"]
    weak: str


class Ratio(LogProbability):
    """`beta` times the log-ratio of the model and the reference it was trained from (implicit PRM, DPO)."""

    aggregation = DEFAULT_AGGREGATION
    beside = ("reference",)
    kind: Literal["ratio"]
    reference: str
    beta: float = Field(gt=0)
    of: Literal["step", "prefix"] = "step"


_Any = Annotated[Ends | Marker | Turns | Question | Ratio | Density | Likelihood, Field(discriminator="kind")]
_TYPES: tuple[type[Readout], ...] = (Ends, Marker, Turns, Question, Ratio, Density, Likelihood)
KINDS = {get_args(one.model_fields["kind"].annotation)[0]: one for one in _TYPES}


class DeclaredModel(BaseModel):
    """A model and how it is read.

    model: a folder or a Hub id; one that a YAML file names may lie beside the file. separator, aggregation, unit,
    chat_template: in place of what the model's config, the readout and the tokenizer say.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str
    readout: _Any = Ends()
    separator: str | None = None
    aggregation: str | None = None
    unit: Unit | None = None
    chat_template: str | None = None

    def models(self) -> dict[str, str]:
        """All models that it reads, by the key that names them."""
        return {"model": self.model, **{key: getattr(self.readout, key) for key in self.readout.beside}}


def is_declaration(model: str | Path) -> bool:
    """Whether a model is given by a YAML file that declares it."""
    return str(model).endswith((".yaml", ".yml"))


def declared_model(model: str | Path, revision: str | None = None) -> DeclaredModel:
    """What a YAML file declares, or the config of a checkpoint (a folder or a Hub id) records.

    Raises InputError for a file that cannot be read, an unknown kind or key (with the nearest there is) and a value
    that cannot be. A checkpoint that cannot be found declares nothing: what loads it says so.
    """
    if not is_declaration(model):
        recorded = {**_recorded(str(model), revision), "model": str(model)}
        return _validated(recorded, f"{model}, key openprm of its config")
    path = Path(model)
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: no YAML file that declares a model: {error}") from None
    if not isinstance(values, Mapping) or not isinstance(values.get("model"), str):
        raise InputError(f"{path}: name the `model` (a folder or a Hub id), and its `readout`")
    for key in values:
        if key not in DeclaredModel.model_fields:
            raise InputError(f"{path}: unknown key {key!r}{nearest(str(key), DeclaredModel.model_fields)}")
    declared = _validated(values, str(path))
    named = {key: str(path.parent / name) for key, name in declared.models().items() if (path.parent / name).is_dir()}
    readout = declared.readout.model_copy(update={key: name for key, name in named.items() if key != "model"})
    return declared.model_copy(update={"model": named.get("model", declared.model), "readout": readout})


def _recorded(model: str, revision: str | None) -> dict[str, Any]:
    from transformers import PreTrainedConfig

    hub = HubId.parse(model)
    if hub is not None and not Path(model).exists():
        model, revision = hub.repository, hub.revision or revision
    try:
        config, _ = PreTrainedConfig.get_config_dict(model, revision=revision)
    except (OSError, ValueError):
        return {}
    return dict(config.get("openprm") or {})


def _validated(values: Mapping[str, Any], where: str) -> DeclaredModel:
    readout = values.get("readout", {"kind": "ends"})
    if not isinstance(readout, Mapping) or readout.get("kind") not in KINDS:
        kind = readout.get("kind") if isinstance(readout, Mapping) else readout
        raise InputError(f"{where}: there is no kind of readout {kind!r}{nearest(str(kind), KINDS)}")
    kind, known = readout["kind"], KINDS[readout["kind"]].model_fields
    for key in readout:
        if key not in known:
            raise InputError(f"{where}: readout {kind} has no key {key!r}{nearest(str(key), known)}")
    try:
        return DeclaredModel.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != kind)
        said = first["msg"].removeprefix("Value error, ")
        given = "" if first["type"] in ("value_error", "missing") else f" is {first['input']!r}"
        raise InputError(f"{where}: {key}{given}: {said}") from None
