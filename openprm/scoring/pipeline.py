"""The `openprm-scoring` pipeline: answers to step rewards and one score (paper, section 3.2, appendix D.1).

    scorer = openprm.load_scorer("openprm/openprm")
    scorer("What is 2 + 3?", "Two and three make five.\nSo: 5")

`save_pretrained` copies this file, and the modules that it imports, into the model's repository.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import transformers
from torch.utils.data import Dataset

from .aggregation import ScoringError
from .forward import longest_sequence
from .rewarder import DEFAULT_MAX_TOKENS, SequenceRewarder
from .scored_answer import ScoringSettings
from .steps import split

TASK = "openprm-scoring"

# Untyped for a type checker: transformers declares the methods that a pipeline overrides without their parameters.
_Pipeline: Any = transformers.Pipeline


@dataclass(frozen=True)
class _Answer:
    """The steps of an answer, and the token ids of the prefixes that fit into the model, or why there are none."""

    steps: list[str]
    sequences: list[list[int]]
    failure: ScoringError | None = None


class OpenPRMScoringPipeline(_Pipeline):
    """Step rewards and a score for answers, by an `AutoModelForSequenceClassification` with one label.

    `scorer(question, response)` scores one answer. Else an input is
    - a dictionary with `question` (a text or chat messages) and `response` (a text, which is split into steps) or
      `steps` (a list of texts, which joined are the response); other keys are ignored, so that a row of a dataset is
      an input;
    - or a chat: a list of messages that ends with the assistant's answer, alone or as `messages` in a dictionary.
    A list or tuple of inputs gives a list of outputs; a dataset, generator or other iterable gives an iterator.

    An output is a dictionary:
    - `score`: the aggregated step rewards
    - `steps`: texts, which joined are the answer
    - `step_rewards`: one raw reward per step, for the answer up to and including it
    - `unit`: what a reward's number says (see `openprm.scoring.units`), as the checkpoint's config has it
    - `aggregation`: the name of the aggregation
    - `truncated`: whether the answer was too long. No sequence is cut: from the first prefix that does not fit, the
      step rewards are None, and the score is that of the steps before.
    - `failure`: None; or why one of several answers has no score, and what to do. Then `score` and all step rewards
      are None, and the other answers are scored.

    Options, when the pipeline is made or called: `separator` (see `openprm.scoring.steps`) and `aggregation` (see
    `openprm.scoring.aggregation`), by default those in the checkpoint's config under `openprm`; `max_length` (in
    tokens; default: what tokenizer and model allow); `batch_size` (answers per batch) and `max_tokens` (tokens per
    forward pass), which change speed and memory only. When it is made also `packed` (see `SequenceRewarder`).

    Raises ValueError for an input it cannot read. Failures are an empty answer, one that the chat template does not
    render (see `openprm.scoring.encoding`), one whose first step does not fit, a token that the model has no embedding
    for, and a reward that is not finite. That of an input alone is raised as ValueError.
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
        self._longest = longest_sequence(self.model)

    def __call__(self, inputs: Any, response: str | None = None, **kwargs: Any) -> Any:
        if response is not None:
            inputs = {"question": inputs, "response": response}
        if isinstance(inputs, Mapping) or _is_chat(inputs):
            output = super().__call__(_parse(inputs), **kwargs)
            if output["failure"] is not None:
                raise ValueError(output["failure"])
            return output
        if (kwargs.get("batch_size") or self._batch_size or 1) > 1 and self.tokenizer.pad_token_id is None:
            raise ValueError("the tokenizer has no padding token: set one of its own (not EOS), or use batch_size=1")
        if isinstance(inputs, (list, tuple)):
            return super().__call__([_parse(one) for one in inputs], **kwargs) if inputs else []
        # `Pipeline` looks at the first input of a dataset only, and would misread chats
        if isinstance(inputs, (Iterable, Dataset)) and not isinstance(inputs, (str, bytes)):
            return super().__call__((_parse(one) for one in inputs), **kwargs)  # type: ignore[union-attr]
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
        # no tensors, and no plain lists of ids, which `Pipeline` would walk through one by one
        try:
            return {"answer": _Answer(steps, settings.encode(self.tokenizer, one["question"], steps))}
        except ScoringError as error:
            return {"answer": _Answer(steps, [], error)}

    def _forward(self, model_inputs: dict[str, Any], max_tokens: int = DEFAULT_MAX_TOKENS) -> dict[str, Any]:
        answers = model_inputs["answer"]
        alone = isinstance(answers, _Answer)  # with batch_size=1 there is no list
        rewards = self.rewarder.rewards([one.sequences for one in ([answers] if alone else answers)], max_tokens)
        return {"rewards": rewards[0] if alone else rewards, "answer": answers}

    def postprocess(self, model_outputs: dict[str, Any], aggregation: str | None = None) -> dict[str, Any]:
        settings, answer = self._settings(aggregation=aggregation), model_outputs["answer"]
        try:
            if answer.failure is not None:
                raise answer.failure
            return {**asdict(settings.score(answer.steps, model_outputs["rewards"])), "failure": None}
        except ScoringError as error:
            nothing = {"step_rewards": [None] * len(answer.steps), "truncated": False, "failure": str(error)}
            said = {"aggregation": settings.aggregation, "unit": settings.unit}
            return {"score": None, "steps": answer.steps, **said, **nothing}

    def _settings(self, max_length: int | None = None, **given: Any) -> ScoringSettings:
        longest = min(self._longest, max_length or self._longest)
        return ScoringSettings.of(self.model.config, self.tokenizer, max_length=longest, **given)


_FORMS = (
    "an input is a dictionary with 'question' and 'response' (or 'steps') or with 'messages', or a chat whose last "
    "message is the assistant's, or a list, dataset or generator of these"
)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _is_chat(inputs: Any) -> bool:
    first = inputs[0] if isinstance(inputs, (list, tuple)) and inputs else None
    return isinstance(first, Mapping) and {"role", "content"} <= first.keys()


def _parse(one: Any) -> dict[str, Any]:
    """The input as `question` and either `response` or `steps`."""
    if isinstance(one, Mapping) and "messages" in one and "question" not in one:
        one = one["messages"]
    if _is_chat(one):
        *question, answer = one
        if not question or not isinstance(answer, Mapping) or answer.get("role") != "assistant":
            raise ValueError("a chat to score ends with a message of the role 'assistant', after at least one other")
        one = {"question": question, "response": answer.get("content")}
    if not isinstance(one, Mapping):
        raise ValueError(f"{_FORMS}; this one is {type(one).__name__}")
    question, response, steps = (one.get(name) for name in ("question", "response", "steps"))
    if question is None or (response is None and steps is None):
        missing = "'question'" if question is None else "'response' and no 'steps'"
        raise ValueError(f"the input has no {missing}; its keys are {sorted(map(str, one))}. {_FORMS}")
    if not isinstance(response, str | None):
        raise ValueError(f"'response' is {type(response).__name__}, not a text; for a list of texts use 'steps'")
    texts = () if steps is None else steps
    if not isinstance(texts, list | tuple) or not all(isinstance(step, str) for step in texts):
        raise ValueError("'steps' is not a list of texts; for one text use 'response'")
    if "" in texts:
        raise ValueError(f"step {texts.index('')} of 'steps' is empty: leave it out")
    if response and steps and "".join(texts) != response:
        raise ValueError("'response' and 'steps' are of different answers: joined, the steps are not the response")
    return {"question": question, **({"steps": steps} if steps else {"response": response or ""})}


def load_scorer(model: str | Any, **kwargs: Any) -> OpenPRMScoringPipeline:
    """The scoring pipeline of a checkpoint: a path, a Hub id, or a loaded model (with `tokenizer=`).

    Keyword arguments are those of `transformers.pipeline` and of `OpenPRMScoringPipeline`. The code is that of the
    installed package, so a published checkpoint, which has a copy of it, needs no trust_remote_code.
    """
    make: Any = transformers.pipeline
    return make(TASK, model=model, pipeline_class=OpenPRMScoringPipeline, **kwargs)
