"""Reward models as plain checkpoints: load a base model as one, save one.

A checkpoint is what `AutoModelForSequenceClassification` reads without this package: one label, raw logits
(`problem_type="regression"`), safetensors, a padding token of its own, a chat template, and one key `openprm` in
config.json: `separator` (how answers are split into steps), `aggregation` (how step rewards become one score),
`suffix` (text after the rendered conversation), `date` (for templates that ask for today's) and `unit` (what rewards
say, see `openprm.scoring.units`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from ..errors import InputError, first_line
from ..scoring.encoding import DEFAULT_CHAT_TEMPLATE, encode
from ..scoring.scored_answer import ScoringSettings
from .internlm2 import convert_internlm2, is_internlm2
from .readout import Ends, declared_model, is_declaration

logger = logging.getLogger(__name__)

PAD_TOKEN = "<|pad|>"
#: Special tokens that a vocabulary reserves; those named for padding come first.
_RESERVED = re.compile(r"pad|reserved|unused|placeholder|control_\d", re.IGNORECASE)
#: Architectures that may get a new score head. Others, such as a reward model with remote code, would lose theirs.
_HEADLESS = ("ForCausalLM", "LMHeadModel", "ForMaskedLM", "ForPreTraining", "ForConditionalGeneration")


def load_reward_model(
    base: str | Path,
    *,
    separator: str | None = None,
    aggregation: str | None = None,
    suffix: str | None = None,
    unit: str | None = None,
    seed: int = 0,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    attn_implementation: str | None = None,
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model and its tokenizer, ready to be trained as a reward model.

    `base` is a reward model (sequence classification with one label), which stays as it is; or a language model,
    which gets a score head drawn from N(0, 1 / (hidden size + 1)) by `seed`, so that initial rewards have size 1. An
    InternLM2 reward model, which needs remote code, is converted first (see `openprm.models.internlm2`). `separator`,
    `aggregation`, `suffix` and `unit` are recorded in the config (default: what it has, else the paper's).

    Weights are float32: in bfloat16 the updates of a learning rate of 1e-6 would be rounded away. To compute in
    bfloat16, use the trainer's `bf16=True`. Dropout is switched off in the config, since it adds noise to the
    difference of two rewards.

    Raises InputError for what cannot be loaded, a classifier with several labels, a checkpoint with a head of another
    kind, or one with missing weights.
    """
    with ExitStack() as stack, loading(base):
        if is_internlm2(base, revision):
            folder = stack.enter_context(TemporaryDirectory())
            convert_internlm2(base, folder, revision=revision)
            base, revision = folder, None
        options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        config = AutoConfig.from_pretrained(base, **options)
        classifier = is_classifier(config)
        if classifier and config.num_labels != 1:
            raise InputError(
                f"{base} is a classifier with {config.num_labels} labels; a reward model has one. Start from a reward "
                "model, or from the language model that the classifier was made from"
            )
        config.num_labels = 1
        for part in (config, config.get_text_config()):
            for name, value in part.to_dict().items():
                if "drop" in name and isinstance(value, float):
                    setattr(part, name, 0.0)
        options |= {"dtype": dtype, "attn_implementation": attn_implementation}
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity_error()  # `_check_loaded` reports the missing weights that matter
        try:
            model, found = AutoModelForSequenceClassification.from_pretrained(
                base, config=config, output_loading_info=True, **options
            )
        finally:
            transformers_logging.set_verbosity(verbosity)
        _check_loaded(base, model, config, set(found["missing_keys"]))
        if not classifier:
            _draw_head(model, sorted(found["missing_keys"]), seed)
        tokenizer = AutoTokenizer.from_pretrained(base, revision=revision, trust_remote_code=trust_remote_code)
    settings = {"separator": separator, "aggregation": aggregation, "suffix": suffix, "unit": unit}
    prepare_reward_model(model, tokenizer, **settings)
    return model, tokenizer


@contextmanager
def loading(model: str | Path, by: str = "AutoModelForSequenceClassification") -> Iterator[None]:
    """Raises InputError for what transformers cannot load."""
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        if isinstance(error, InputError):
            raise
        said = first_line(error).rstrip(" :")
        raise InputError(f"{model} cannot be loaded by {by}: {said}; check the checkpoint's files") from error


def is_classifier(config: Any) -> bool:
    """Whether a checkpoint has a head whose output are rewards, or classes."""
    return any("ForSequenceClassification" in name for name in config.architectures or [])


def reward_model_config(
    model: str | Path, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedConfig:
    """The config of a model whose rewards are used as they are, such as an off-the-shelf reward model.

    Raises InputError for a model that cannot be found, an InternLM2 reward model that is not converted yet, other
    remote code that the caller does not trust, a model without a sequence-classification head (transformers would add
    a random one), and one with several labels.
    """
    if is_internlm2(model, revision):
        raise InputError(
            f"{model} is an InternLM2 reward model, which needs remote code; convert it to a plain checkpoint and "
            "give that one: a stage of the kind `convert` in a preset, or "
            "openprm.models.internlm2.convert_internlm2(model, folder) in Python (`openprm train --base` converts it)"
        )
    if is_declaration(model) or not isinstance(declared_model(model, revision).readout, Ends):
        raise InputError(
            f"{model} declares how it is read, which `openprm evaluate` and `openprm score` know; give a plain reward "
            "model here"
        )
    try:
        config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{model} cannot be read as a model: {first_line(error)}; check the name, or if it needs remote code that "
            "you have read and trust, allow it with trust_remote_code=True"
        ) from error
    remote_code = getattr(config, "auto_map", {}) if trust_remote_code else {}
    if not is_classifier(config) and "AutoModelForSequenceClassification" not in remote_code:
        known_as = ", ".join(config.architectures or ["of no known kind"])
        raise InputError(
            f"{model} ({known_as}) has no sequence-classification head, and its rewards would be those of a random "
            "one; give a reward model, train one from it (openprm train --base), or declare its readout in a YAML file"
        )
    if config.num_labels != 1:
        raise InputError(
            f"{model} is a classifier with {config.num_labels} labels, and a reward model has one; give a reward "
            "model, or declare its readout in a YAML file"
        )
    return config


def _check_loaded(base: str | Path, model: Any, config: Any, missing: set[str]) -> None:
    if not is_classifier(config):
        bare = type(model.base_model).__name__
        for name in config.architectures or []:
            if name != bare and not name.endswith(_HEADLESS):
                raise InputError(
                    f"{base} is a {name}: its head would be lost. Convert it to a sequence classification checkpoint "
                    "with one label (a `score` head), or start from a language model"
                )
        missing = {name for name in missing if name.startswith(f"{model.base_model_prefix}.")}
    if missing:
        raise InputError(f"{base} lacks weights: {', '.join(sorted(missing))}")


@torch.no_grad()
def _draw_head(model: Any, names: list[str], seed: int) -> None:
    """Draws the head's matrices; transformers has set its biases to 0 and its norms to 1."""
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        parameter = model.get_parameter(name)
        if parameter.dim() > 1:
            drawn = torch.randn(parameter.shape, generator=generator) / (parameter.shape[-1] + 1) ** 0.5
            parameter.copy_(drawn)


def prepare_reward_model(
    model: Any,
    tokenizer: Any,
    *,
    separator: str | None = None,
    aggregation: str | None = None,
    suffix: str | None = None,
    unit: str | None = None,
) -> None:
    """Makes model and tokenizer, in place, a plain reward checkpoint (see the module); `load_reward_model` calls it.

    The padding token is the tokenizer's if it does not end a turn; else a reserved token of the vocabulary; else a new
    one, for which the embedding grows only if it has no spare row.
    """
    given = {"separator": separator, "aggregation": aggregation, "suffix": suffix, "unit": unit}
    settings = ScoringSettings.of(model.config, tokenizer, **given)
    if not tokenizer.chat_template:
        tokenizer.chat_template = DEFAULT_CHAT_TEMPLATE
    model.config.openprm = {name: getattr(settings, name) for name in (*given, "date")}
    model.config.problem_type = "regression"
    # A published checkpoint names its scoring code here; a plain copy without that code could not be loaded.
    vars(model.config).pop("custom_pipelines", None)
    _set_pad_token(model, tokenizer, settings.suffix)
    check_reward_model(model, tokenizer)


def _set_pad_token(model: Any, tokenizer: Any, suffix: str) -> None:
    sample = encode(tokenizer, "question", "answer", suffix)
    text = model.config.get_text_config()
    taken = {*sample, *_end_tokens(model, tokenizer), tokenizer.unk_token_id}
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in taken:
        tokenizer.add_special_tokens({"pad_token": _reserved_token(tokenizer, taken) or PAD_TOKEN})
    pad = tokenizer.pad_token_id
    if is_classifier(model.config) and text.pad_token_id == sample[-1]:
        logger.warning(
            "This reward model pads with the token that ends a turn, so its rewards were read at the token before. "
            "Now it pads with %r and is read at the end: its rewards differ until it is trained.",
            tokenizer.pad_token,
        )
    embedding = model.get_input_embeddings()
    if pad >= embedding.num_embeddings:
        model.resize_token_embeddings(pad + 1, mean_resizing=False)
        embedding = model.get_input_embeddings()
        with torch.no_grad():
            embedding.weight[pad] = 0.0  # never attended to, so any fixed value will do
    if embedding.padding_idx is not None:
        embedding.padding_idx = pad  # the row at this index is not trained
    text.pad_token_id = model.config.pad_token_id = pad


def _reserved_token(tokenizer: Any, taken: set[int | None]) -> str | None:
    special = {index: token.content for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    reserved = [
        (("pad" not in text.lower(), index), text)
        for index, text in special.items()
        if index not in taken and _RESERVED.search(text) and text not in tokenizer.chat_template
    ]
    return min(reserved)[1] if reserved else None


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    recorded = model.config.get_text_config().eos_token_id
    ends = recorded if isinstance(recorded, list) else [recorded]
    return {token for token in [*ends, tokenizer.eos_token_id] if token is not None}


def check_reward_model(model: Any, tokenizer: Any) -> None:
    """Raises ValueError, which says what is wrong, unless this is a plain reward checkpoint."""
    config = model.config
    how = "load it with openprm.models.reward_checkpoint.load_reward_model, or call prepare_reward_model on it"
    if config.num_labels != 1:
        raise ValueError(f"a reward model has one label, this one has {config.num_labels}; {how}")
    if not hasattr(config, "openprm"):
        raise ValueError(f"the model's config has no key 'openprm'; {how}")
    if tokenizer.pad_token_id is None or config.get_text_config().pad_token_id != tokenizer.pad_token_id:
        raise ValueError(
            f"the padding tokens of model ({config.get_text_config().pad_token_id}) and tokenizer "
            f"({tokenizer.pad_token_id}) should be one and the same; {how}"
        )
    if tokenizer.pad_token_id in _end_tokens(model, tokenizer):
        raise ValueError(f"the padding token {tokenizer.pad_token!r} also ends a turn; {how}")


def save_reward_model(model: Any, tokenizer: Any, folder: str | Path) -> None:
    """Write the checkpoint: weights (safetensors), config, tokenizer with its chat template."""
    check_reward_model(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
