"""The stage that composes prompts with verifiable constraints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.constraints import Instruction, check_kinds, compose, near_duplicates, open_instructions
from ..data.holdout import divide, question_rank
from ..data.prompts import PromptColumns, read_prompts
from ..data.values import question_id
from ..errors import Failure, InputError
from ..runs.dataset import Rejections, finish_dataset, most_common, write_shards
from ..runs.declaration import input_path, nearest, parameter
from ..runs.folder import REJECTED
from ..runs.progress import shown
from ..runs.provenance import Origin, inherited, unique
from ..schema import SCHEMA_VERSION, Message, Prompt
from .shared_options import ReadsRows
from .split import SUBSETS

#: Our own instructions and wordings, under this package's own license.
ORIGIN = Origin(name="constraints", kind="data", license="Apache-2.0", citation="Composed by openprm.data.constraints")


@dataclass(frozen=True, kw_only=True)
class Constraints(ReadsRows, kind="constraints"):
    """Compose prompts of open instructions and verifiable constraints on the response, of IFEval's kinds.

    The reference holds the constraints: `openprm reward --by instructions` gives the share that a response meets. The
    subsets train and test share no topic (of a file's instructions: no instruction), by a hash of it.
    """

    instructions: str | None = input_path(
        "Open instructions: a file, dataset or folder of prompts; default: our own.", None, argument=True
    )
    instruction_column: str = parameter("Column of the instruction: text or chat messages.", "question")
    split: str | None = parameter("Split of a dataset (not of a file).", None)
    n: int = parameter("Number of prompts.", above=0)
    subset: str = parameter("train, or test: the topics that are held out.", "train")
    holdout: float = parameter("Share of the topics that is held out.", 0.2)
    constraints: list[str] = parameter(
        "Kinds of constraints to use, such as punctuation:no_comma; may be repeated; default: all.",
        [],
        flag="--constraint",
    )
    avoid: dict[str, str] = input_path("Prompts or candidates: instructions that are nearly in one are left out.", {})
    source: str = parameter("Name of the data's source.", "constraints")
    seed: int = parameter("Seed of instructions, kinds and arguments.", 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.subset not in SUBSETS:
            raise InputError(f"there is no subset {self.subset!r}{nearest(self.subset, SUBSETS)}")
        divide((0, 1), self.holdout)  # raises for a share that is none
        check_kinds(self.constraints)

    def work(self, folder: Path) -> Mapping[str, Any]:
        rejections = Rejections(folder / REJECTED, self.strict)
        instructions = self._instructions(rejections)
        ranks = {one.topic: question_rank([Message(role="user", content=one.topic)], 0) for one in instructions}
        train, test = divide(ranks.values(), self.holdout)
        kept = train if self.subset == "train" else test
        own = [one for one in instructions if ranks[one.topic] in kept]
        avoided = [text for path in self.avoid.values() for text in _texts(path, read_prompts(path), rejections)]
        alike = near_duplicates(own, avoided)
        usable = [one for one in own if one.text not in alike]
        if own and not usable:
            raise InputError(
                f"all {len(own)} instructions are nearly in one of {', '.join(self.avoid.values())}; give others"
            )
        kinds: Counter[str] = Counter()

        def rows() -> Iterator[Prompt]:
            composed_prompts = compose(usable, self.n, self.seed, self.constraints or None)
            for composed in shown(composed_prompts, "constraints", "prompts"):
                kinds.update(composed.kinds)
                question = [Message(role="user", content=composed.prompt)]
                yield Prompt(
                    schema_version=SCHEMA_VERSION,
                    prompt_id=question_id(question),
                    source=self.source,
                    question=question,
                    reference=composed.reference,
                )

        digests = write_shards(folder, rows(), Prompt)
        counts = {
            "prompts": self.n,
            "instructions": len(usable),
            "near_duplicates": len(alike),
            "kinds": dict(sorted(kinds.items())),
            "rejected": dict(rejections.counts),
        }
        origins = [ORIGIN, *(inherited({"instructions": self.instructions}) if self.instructions else [])]
        return {**finish_dataset(folder, Prompt, "prompts", digests, counts), "origins": unique(origins)}

    def _instructions(self, rejections: Rejections) -> list[Instruction]:
        if self.instructions is None:
            return open_instructions()
        columns = PromptColumns(self.instruction_column)
        found = read_prompts(self.instructions, columns, split=self.split)
        return [Instruction(text, text) for text in dict.fromkeys(_texts(self.instructions, found, rejections))]


def _texts(path: str, rows: Iterable[Prompt | Failure], rejections: Rejections) -> list[str]:
    """The last message of each prompt. Raises InputError where there is none."""
    before = Counter(rejections.counts)
    if not (found := [row["question"][-1]["content"].strip() for row in rejections.filter(rows)]):
        raise InputError(f"{path}: no prompt could be used; " + most_common(rejections.counts - before))
    return found
