"""The `openprm-scoring` pipeline: answers to step rewards and one score (paper, section 3.2, appendix D.1).

    scorer = openprm.load_scorer("openprm/openprm")
    scorer({"question": "What is 2 + 3?", "response": "Two and three make five.\nSo: 5"})

This file travels with published models, together with the modules it imports; see
`Pipeline.save_pretrained`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import transformers
from torch.utils.data import Dataset

from .rewarder import DEFAULT_MAX_TOKENS, SequenceRewarder
from .scored_answer import ScoringSettings
from .steps import split

TASK = "openprm-scoring"

# Untyped for a type checker: transformers declares the methods that a pipeline overrides without their parameters.
_Pipeline: Any = transformers.Pipeline


@dataclass(frozen=True)
class _Answer:
    """The steps of an answer, and the token ids of the prefixes that fit into the model."""

    steps: list[str]
    sequences: list[list[int]]


class OpenPRMScoringPipeline(_Pipeline):
    """Step rewards and a score for answers, by an `AutoModelForSequenceClassification` with one label.

    An input is
    - a dictionary with `question` (a text or chat messages) and `response` (a text, split into steps) or `steps` (a
      list of texts, joined as they are; where there are both, the response is split so); other keys are ignored, so
      that a row of a dataset is an input;
    - or a chat: a list of messages whose last one is the assistant's answer.
    A list or tuple of inputs gives a list of outputs, in its order; a dataset, generator or other iterable of inputs
    gives an iterator over outputs.

    An output is a dictionary:
    - `score`: the step rewards, aggregated
    - `steps`: the texts, which joined are the answer
    - `rewards`: one raw reward (a logit) a step, for the answer up to and including it
    - `aggregation`: the name of the aggregation
    - `truncated`: whether the answer was too long. Nothing is cut off a sequence: from the first prefix
      that does not fit, the steps have None for a reward, and the score is made of those before.

    Options, when the pipeline is made or called: `separator` (how a response is split, see `openprm.scoring.steps`),
    `aggregation` (see `openprm.scoring.aggregation`), `max_length` (in tokens; default: what tokenizer and model
    allow), `batch_size` (answers a batch) and `max_tokens` (tokens a forward pass; these two change speed and memory
    only). `packed`, when it is made: see `openprm.scoring.rewarder.SequenceRewarder`.
    The defaults of the first two are the checkpoint's own, where its config records them under `openprm`.

    Raises ValueError for an input it cannot read, an empty answer, one whose first step does not fit, and a reward
    that is not finite.
    """

    _load_tokenizer = True
    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    def __init__(self, *args: Any, packed: bool | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.tokenizer is None:
            raise ValueError("the scoring pipeline needs the model's tokenizer: pass tokenizer=")
        self.rewarder = SequenceRewarder(self.model, packed)

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        if isinstance(inputs, Mapping) or _is_chat(inputs):
            return super().__call__(_parse(inputs), **kwargs)
        if (kwargs.get("batch_size") or self._batch_size or 1) > 1 and self.tokenizer.pad_token_id is None:
            raise ValueError("the tokenizer has no padding token: set one of its own (not EOS), or use batch_size=1")
        if isinstance(inputs, (list, tuple)):
            return super().__call__(list(_parse_each(inputs)), **kwargs) if inputs else []
        # `Pipeline` judges the inputs of a dataset by the first alone, and would mistake chats.
        if isinstance(inputs, (Iterable, Dataset)) and not isinstance(inputs, (str, bytes)):
            return super().__call__(_parse_each(inputs), **kwargs)
        raise ValueError(f"{_FORMS}; this one is {type(inputs).__name__}")

    def _sanitize_parameters(
        self,
        separator: str | None = None,
        aggregation: str | None = None,
        max_length: int | None = None,
        max_tokens: int | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return (
            _given(separator=separator, max_length=max_length),
            _given(max_tokens=max_tokens),
            _given(aggregation=aggregation),
        )

    def preprocess(
        self, inputs: Any, separator: str | None = None, max_length: int | None = None
    ) -> dict[str, _Answer]:
        one = _parse(inputs)
        settings = self._settings(separator=separator, max_length=max_length)
        steps = list(one["steps"]) if "steps" in one else split(one["response"], settings.separator)
        # No tensors, and no bare lists of ids, which `Pipeline` would walk through one by one.
        return {"answer": _Answer(steps, settings.encode(self.tokenizer, one["question"], steps))}

    def _forward(self, model_inputs: dict[str, Any], max_tokens: int = DEFAULT_MAX_TOKENS) -> dict[str, Any]:
        answers = model_inputs["answer"]
        if isinstance(answers, _Answer):  # batch_size=1 is not a batch of one
            return {"rewards": self.rewarder.rewards([answers.sequences], max_tokens)[0], "answer": answers}
        rewards = self.rewarder.rewards([answer.sequences for answer in answers], max_tokens)
        return {"rewards": rewards, "answer": answers}

    def postprocess(self, model_outputs: dict[str, Any], aggregation: str | None = None) -> dict[str, Any]:
        settings = self._settings(aggregation=aggregation)
        return asdict(settings.score(model_outputs["answer"].steps, model_outputs["rewards"]))

    def _settings(self, **given: Any) -> ScoringSettings:
        return ScoringSettings.of(self.model.config, self.tokenizer, **given)


_FORMS = (
    "an input is a dictionary with 'question' and 'response' (or 'steps'), or a chat whose last message is the "
    "assistant's, or a list, dataset or generator of these"
)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _is_chat(inputs: Any) -> bool:
    return (
        isinstance(inputs, (list, tuple))
        and len(inputs) > 0
        and isinstance(inputs[0], Mapping)
        and {"role", "content"} <= inputs[0].keys()
    )


def _parse(one: Any) -> dict[str, Any]:
    """The input as `question` and either `response` or `steps`."""
    if _is_chat(one):
        *question, answer = one
        if not question or not isinstance(answer, Mapping) or answer.get("role") != "assistant":
            raise ValueError("a chat to score ends with a message of the role 'assistant', behind at least one other")
        one = {"question": question, "response": answer.get("content")}
    if not isinstance(one, Mapping):
        raise ValueError(f"{_FORMS}; this one is {type(one).__name__}")
    if one.get("question") is None:
        raise ValueError(f"the input has no 'question'; its keys are {sorted(map(str, one))}. {_FORMS}")
    given = _given(response=one.get("response"), steps=one.get("steps"))
    if not given:
        raise ValueError(f"the input has no 'response' and no 'steps'; its keys are {sorted(map(str, one))}. {_FORMS}")
    response, steps = given.get("response", ""), given.get("steps", [])
    if not isinstance(response, str):
        raise ValueError(f"'response' is {type(response).__name__}, not a text; for a list of texts use 'steps'")
    if not isinstance(steps, (list, tuple)) or not all(isinstance(step, str) for step in steps):
        raise ValueError("'steps' is not a list of texts; for one text use 'response'")
    if "" in steps:
        raise ValueError(f"step {list(steps).index('')} of 'steps' is empty: leave it out")
    if not (response or "".join(steps)).strip():
        raise ValueError(f"{next(iter(given))!r} is empty: there is no step to reward")
    if response and steps and "".join(steps) != response:
        raise ValueError("'response' and 'steps' are of different answers: joined, the steps are not the response")
    return {"question": one["question"], **({"steps": steps} if steps else {"response": response})}


def _parse_each(inputs: Any) -> Iterator[dict[str, Any]]:
    for one in inputs:
        yield _parse(one)


def load_scorer(model: str | Any, **kwargs: Any) -> OpenPRMScoringPipeline:
    """The scoring pipeline of a checkpoint: a path, a Hub id, or a loaded model (with `tokenizer=`).

    Keyword arguments are those of `transformers.pipeline` and of `OpenPRMScoringPipeline`. The code is the installed
    package's, so that a published checkpoint, which brings its own copy along, needs no trust_remote_code.
    """
    make: Any = transformers.pipeline
    return make(TASK, model=model, pipeline_class=OpenPRMScoringPipeline, **kwargs)
