r"""The public datasets that the paper starts from (its section 4.1 and Table 4).

Each is declared by its repository on the Hub, a commit, and how its rows are converted. Commits are those that other
public work uses. The paper names its datasets, but not their repositories. What is known about them:

- UltraFeedback: the paper's 59,876 instructions are not the 63,967 of openbmb/UltraFeedback, nor the 61,135 of its
  binarized version. The training split of princeton-nlp/llama3-ultrafeedback, a selection of the same instructions,
  has 59.9k rows on its page, and a dataset annotated from it (simonycl/llama3-ultrafeedback-annotate-judge-5) has
  exactly 59,876. So that one is used; `ultrafeedback-original` is the whole set.
- ScienceQA: the 6,508 training questions without an image. Table 5 shows how the paper words a question; a hint, which
  its example does not have, follows the question, as in ScienceQA's own prompts.
- MATH: all 7,500 training problems, unchanged, since the paper does not say how it words them.
- HelpSteer2: 7,221 pairs of the training split. The two responses to each prompt by their helpfulness, without ties,
  are 7,224 pairs in scottsuk0306/HelpSteer2-binarized; the others may be repeated or equal texts.
- UltraFeedback-binarized: for a baseline only. Rows with equal scores for chosen and rejected are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import Failure, InputError
from ..runs.provenance import Origin
from ..schema import Message, Pair
from .preferences import PreferenceColumns, to_pair
from .values import LETTERS, option_lines, to_reward, to_text

Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the rows are, and under which license.

    hub, revision, split: the dataset's id on the Hub, the commit, and the split.
    configs: the configs to read in order; empty if there is only one.
    columns: those that are read; a file without one of them is not this dataset.
    license: an SPDX identifier (of the data; models whose outputs are in it have terms of their own).
    paper_rows: the paper's number of prompts or pairs, if it gives one.
    """

    name: str
    hub: str
    revision: str
    split: str = "train"
    columns: tuple[str, ...]
    license: str
    homepage: str
    citation: str
    configs: tuple[str, ...] = ()
    paper_rows: int | None = None

    def origin(self) -> Origin:
        """For the card of a dataset made of these rows."""
        names = ("name", "hub", "revision", "split", "license", "homepage", "citation")
        return Origin(kind="data", **{name: getattr(self, name) for name in names})  # type: ignore[typeddict-item]


@dataclass(frozen=True, kw_only=True)
class PromptSource(Source):
    """`prompt` gives the question and the reference (or None) in a row, None to leave it out, or raises Failure."""

    prompt: Callable[[Values], tuple[str, str | None] | None]


@dataclass(frozen=True, kw_only=True)
class PairSource(Source):
    """`by`: two consecutive rows with the same value in this column make one pair; if None, each row is a pair.

    `pair`: the outcome pair in these rows, with the source's name, or None for a tie. Raises Failure.
    """

    by: str | None = None
    pair: Callable[[Sequence[Values], str], Pair | None]


S = TypeVar("S", bound=Source)


def _scienceqa(row: Values) -> tuple[str, str] | None:
    if row["image"] is not None:
        return None
    answer, options = row["answer"], option_lines(row["choices"], "choices")
    if not isinstance(answer, int) or not 0 <= answer < len(options):
        raise Failure(f"'answer' is {answer!r} of {len(options)} choices", "make it the index of one, from 0")
    return with_options(required_text(row, "question"), row["choices"], to_text(row, "hint")), LETTERS[answer]


def with_options(question: str, options: Any, context: str | None = None) -> str:
    """A question of multiple choice as the paper words it (Table 5)."""
    said = ["Question:", question, *(["Context:", context] if context else [])]
    return "\n".join([*said, "Options:", *option_lines(options, "options"), "Answer: Let's think step by step."])


def _math(row: Values) -> tuple[str, str]:
    answer = last_boxed(required_text(row, "solution"))
    if not answer:
        raise Failure("the 'solution' has no \\boxed answer", "leave the row out, or box its answer")
    return required_text(row, "problem"), answer


def required_text(row: Values, column: str) -> str:
    """Raises Failure where the column is empty."""
    text = to_text(row, column)
    if text is None or not text.strip():
        raise Failure(f"{column!r} is empty", "leave the row out")
    return text


def last_boxed(text: str) -> str | None:
    r"""The content of the last \boxed{...} or \fbox{...}, with matching braces, or of `\boxed 5`; else None.

    >>> last_boxed(r"so $\boxed{\frac{1}{2}}$, or \boxed{x^{2}}.")
    'x^{2}'
    """
    starts = [*re.finditer(r"\\(?:boxed|fbox)(?=\s*\{|\s+\S)", text)]
    if not starts:
        return None
    rest = text[starts[-1].end() :].lstrip()
    if not rest.startswith("{"):
        return re.match(r"[^\s$]*", rest)[0].rstrip(".,;")  # type: ignore[index]
    depth = 0
    for position, token in ((match.start(), match[0]) for match in re.finditer(r"\\.|[{}]", rest, re.DOTALL)):
        depth += (token == "{") - (token == "}")
        if not depth and token == "}":
            return rest[1:position].strip()
    return None


def _helpsteer2(rows: Sequence[Values], name: str) -> Pair | None:
    """The more helpful response is chosen; the gap is in points from 0 to 4."""
    if len(rows) == 1:
        raise Failure("the prompt has one response", "leave the row out, or add the other")
    points = [to_reward(row["helpfulness"], "helpfulness") for row in rows]
    better, worse = rows if points[0] > points[1] else reversed(rows)
    gap = abs(points[0] - points[1])
    sides = {"prompt": _turns(better["prompt"]), "chosen": better["response"], "rejected": worse["response"]}
    return to_pair(sides, PreferenceColumns(), name, gap) if gap else None


_TURN = re.compile(r"\n*<extra_id_1>(User|Assistant)\n")


def _turns(prompt: Any) -> Any:
    """The messages of a prompt: turns after the first, which is the user's, begin with <extra_id_1> and a role."""
    if not isinstance(prompt, str):
        return prompt
    first, *rest = _TURN.split(prompt)
    turns = zip(rest[::2], rest[1::2], strict=True)
    return [Message(role="user", content=first), *(Message(role=role.lower(), content=text) for role, text in turns)]


def _ultrafeedback_binarized(rows: Sequence[Values], name: str) -> Pair | None:
    """The gap is in points from 1 to 10."""
    [row] = rows
    gap = to_reward(row["score_chosen"], "score_chosen") - to_reward(row["score_rejected"], "score_rejected")
    return to_pair(row, PreferenceColumns(), name, gap) if gap else None


_ULTRAFEEDBACK = (
    "Cui et al., 2023. UltraFeedback: Boosting Language Models with High-quality Feedback. arXiv:2310.01377"
)

MATH_CONFIGS = tuple(
    "algebra counting_and_probability geometry intermediate_algebra number_theory prealgebra precalculus".split()
)

#: By the name that `openprm prompts`, the presets and the builder `prompts` use.
PROMPT_SOURCES: dict[str, PromptSource] = {
    source.name: source
    for source in (
        PromptSource(
            name="ultrafeedback",
            hub="princeton-nlp/llama3-ultrafeedback",
            revision="0e4d731abdb5f215085bbd92d0c2fcad7e080a4f",
            columns=("prompt",),
            license="MIT",
            homepage="https://github.com/OpenBMB/UltraFeedback",
            citation=f"{_ULTRAFEEDBACK}; prompts as selected by Meng et al., 2024. SimPO. arXiv:2405.14734",
            paper_rows=59_876,
            prompt=lambda row: (required_text(row, "prompt"), None),
        ),
        PromptSource(
            name="ultrafeedback-original",
            hub="openbmb/UltraFeedback",
            revision="40b436560ca83a8dba36114c22ab3c66e43f6d5e",
            columns=("instruction",),
            license="MIT",
            homepage="https://github.com/OpenBMB/UltraFeedback",
            citation=_ULTRAFEEDBACK,
            prompt=lambda row: (required_text(row, "instruction"), None),
        ),
        PromptSource(
            name="scienceqa",
            hub="derek-thomas/ScienceQA",
            revision="f18b0a70359ebfb41f658fd564208d0355b013f4",
            columns=("image", "question", "choices", "answer", "hint"),
            # the authors' terms; the Hub's tag, cc-by-sa-4.0, leaves out "non-commercial"
            license="CC-BY-NC-SA-4.0",
            homepage="https://scienceqa.github.io",
            citation="Lu et al., 2022. Learn to Explain: Multimodal Reasoning via Thought Chains for Science Question "
            "Answering. NeurIPS. arXiv:2209.09513",
            paper_rows=6_508,
            prompt=_scienceqa,
        ),
        PromptSource(
            name="math",
            hub="EleutherAI/hendrycks_math",
            revision="21a5633873b6a120296cce3e2df9d5550074f4a3",
            configs=MATH_CONFIGS,
            columns=("problem", "solution"),
            license="MIT",
            homepage="https://github.com/hendrycks/math",
            citation="Hendrycks et al., 2021. Measuring Mathematical Problem Solving With the MATH Dataset. NeurIPS. "
            "arXiv:2103.03874",
            paper_rows=7_500,
            prompt=_math,
        ),
    )
}

PAIR_SOURCES: dict[str, PairSource] = {
    source.name: source
    for source in (
        PairSource(
            name="helpsteer2",
            hub="nvidia/HelpSteer2",
            revision="990b2711a36180dd19d9c94b8627844866f8982a",
            columns=("prompt", "response", "helpfulness"),
            license="CC-BY-4.0",
            homepage="https://huggingface.co/datasets/nvidia/HelpSteer2",
            citation="Wang et al., 2024. HelpSteer2: Open-source dataset for training top-performing reward models. "
            "arXiv:2406.08673",
            paper_rows=7_221,
            by="prompt",
            pair=_helpsteer2,
        ),
        PairSource(
            name="ultrafeedback-binarized",
            hub="HuggingFaceH4/ultrafeedback_binarized",
            revision="3949bf5f8c17c394422ccfab0c31ea9c20bdeb85",
            split="train_prefs",
            columns=("prompt", "chosen", "rejected", "score_chosen", "score_rejected"),
            license="MIT",
            homepage="https://huggingface.co/datasets/HuggingFaceH4/ultrafeedback_binarized",
            citation=f"{_ULTRAFEEDBACK}; binarized by Tunstall et al., 2023. Zephyr. arXiv:2310.16944",
            pair=_ultrafeedback_binarized,
        ),
    )
}


def find_source(sources: Mapping[str, S], name: str) -> S:
    """The declared source of that name; raises InputError if there is none."""
    if name not in sources:
        raise InputError(f"no declared dataset {name!r}; there are {', '.join(sources)}")
    return sources[name]
