"""The domain of the preset `tiny`: a dial with ten positions, turned, flipped and mirrored.

    The dial is at 3. First up 2. Second flip. Third down 1.

    First 3 up 2 is 5.
    Second 5 flip is 0.
    Third 0 down 1 is 9.
    The answer is 9

To flip is to go to the opposite position, five further; to mirror is to go from x to 9 - x. The policy learns from
sloppy solutions, most of which take the one for the other (see `SLOPPY`). So it makes mistakes of two kinds: slips,
which differ from sample to sample and which a majority vote repairs, and a misconception that most samples share and
that a vote confirms. Both can be told from the step they happen in, the second more easily, so that a small reward
model can learn from final answers alone which steps are wrong.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

POSITIONS = 10
ORDINALS = ("First", "Second", "Third", "Fourth")
SEPARATOR = ".\n"
#: What is taken for one another, and in which share of the solutions that the policy learns from.
CONFUSED = {"flip": "mirror", "mirror": "flip"}
SLOPPY = 0.6
CONFUSING = 0.9  # share of the dials that have one of them
#: Share of these that say "mirror". With as many flips as mirrors, a reward model that cannot yet tell them apart
#: gains nothing by either, and its training stays for long where the loss is that of chance.
MIRRORS = 0.75
TURNS = (2, 4)  # fewest and most turns of a dial
#: Every tenth dial is for testing: which one, its digits decide, so no split holds a dial of another.
SPLITS = {"train": range(0, 9), "test": range(9, 10)}


@dataclass(frozen=True)
class Dial:
    """An instruction: a first position, and turns: up or down by 1 to 3, "flip" or "mirror"."""

    start: int
    turns: tuple[tuple[str, int], ...]

    @property
    def question(self) -> str:
        turns = " ".join(f"{ordinal} {said(*turn)}." for ordinal, turn in zip(ORDINALS, self.turns, strict=False))
        return f"The dial is at {self.start}. {turns}"

    def positions(self) -> list[int]:
        """The positions on the way, the first one included."""
        return list(accumulate(self.turns, lambda position, turn: turned(position, *turn), initial=self.start))

    @property
    def reference(self) -> str:
        return str(self.positions()[-1])


def read_dial(question: str) -> Dial:
    """The dial of a `Dial.question`."""
    start, *turns = question.rstrip(".").removeprefix("The dial is at ").split(". ")
    read = (turn.split()[1:] for turn in turns)
    return Dial(int(start), tuple((words[0], int(words[1]) if len(words) > 1 else 0) for words in read))


def said(turn: str, amount: int) -> str:
    return turn if turn in CONFUSED else f"{turn} {amount}"


def turned(position: int, turn: str, amount: int) -> int:
    """Where a turn ends."""
    if turn == "flip":
        return (position + POSITIONS // 2) % POSITIONS
    if turn == "mirror":
        return POSITIONS - 1 - position
    return (position + (amount if turn == "up" else -amount)) % POSITIONS


def dials(n: int, seed: int, split: str = "train") -> list[Dial]:
    """n distinct dials with two to four turns; most of them with one flip or mirror.

    Raises ValueError for an unknown split. There are about 3,500 dials for testing, and 31,000 for training.
    """
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}; choose one of {', '.join(SPLITS)}")
    rng = random.Random(f"{split} {seed}")
    found: dict[Dial, None] = {}
    while len(found) < n:
        amounts = [rng.randint(1, 3) for _ in range(rng.randint(*TURNS))]
        turns = [(rng.choice(["up", "down"]), amount) for amount in amounts]
        if rng.random() < CONFUSING:
            turns[rng.randrange(len(turns))] = ("mirror" if rng.random() < MIRRORS else "flip", 0)
        dial = Dial(rng.randrange(POSITIONS), tuple(turns))
        digits = dial.start + sum((index + 2) * amount for index, (_, amount) in enumerate(dial.turns))
        if digits % 10 in SPLITS[split]:
            found[dial] = None
    return list(found)


def solution(dial: Dial, rng: random.Random, sloppy: float = SLOPPY) -> str:
    """A solution as the policy sees them: step by step, taking flip for mirror and back with this probability."""
    position, steps = dial.start, []
    for ordinal, (turn, amount) in zip(ORDINALS, dial.turns, strict=False):
        taken = CONFUSED[turn] if turn in CONFUSED and rng.random() < sloppy else turn
        after = turned(position, taken, amount)
        steps.append(f"{ordinal} {position} {said(taken, amount)} is {after}")
        position = after
    return SEPARATOR.join([*steps, f"The answer is {position}"])


_CHAT = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|>{{ message['content'] }}"
    "{% else %}<|assistant|>{{ message['content'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word, digit and mark, with the blank before it; decoding is lossless."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [*"The dial is at up down flip mirror answer".split(), *ORDINALS]
    pieces = [" ", ".", "\n", SEPARATOR, *(blank + word for word in [*words, *"0123456789"] for blank in ("", " "))]
    special = ["<pad>", "<s>", "<|end|>", "<unk>", "<|user|>", "<|assistant|>"]
    vocabulary = {piece: index for index, piece in enumerate([*special, *pieces])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[A-Za-z]+| ?[0-9]|\.\n|[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    found = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="<|end|>",
        unk_token="<unk>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        clean_up_tokenization_spaces=False,
    )
    found.chat_template = _CHAT
    return found


def train_policy(
    tokenizer: Any, seed: int = 0, steps: int = 300, batch_size: int = 32, learning_rate: float = 3e-3
) -> LlamaForCausalLM:
    """A Llama of 0.2 million parameters that learned from sloppy solutions, and from nothing else.

    The loss is on the solutions only. Deterministic on one machine with one number of threads.
    """
    import torch
    from tqdm import tqdm
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=2,  # of 32: vLLM has no smaller ones on a CPU
        max_position_embeddings=128,
        tie_word_embeddings=True,
        initializer_range=0.1,  # about 1 / sqrt(hidden size): the usual 0.02 learns many times more slowly
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it is
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps, pct_start=0.1)
    rng = random.Random(seed)
    examples = [(dial, solution(dial, rng)) for dial in dials(10_000, seed)]
    for _ in tqdm(range(steps), "policy", unit=" steps", disable=None):
        drawn = _encoded(tokenizer, rng.sample(examples, batch_size))
        loss = model(**_batch(drawn, tokenizer.pad_token_id)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return model.eval()


def _encoded(tokenizer: Any, solved: Sequence[tuple[Dial, str]]) -> list[tuple[list[int], int]]:
    """Ids of question and solution, and how many of them are the question's."""
    asked, whole = [], []
    for dial, answer in solved:
        question = {"role": "user", "content": dial.question}
        asked.append(tokenizer.apply_chat_template([question], tokenize=False, add_generation_prompt=True))
        whole.append(
            tokenizer.apply_chat_template([question, {"role": "assistant", "content": answer}], tokenize=False)
        )
    ids, questions = (tokenizer(texts, add_special_tokens=False)["input_ids"] for texts in (whole, asked))
    return [(row, len(question)) for row, question in zip(ids, questions, strict=True)]


def _batch(examples: Sequence[tuple[list[int], int]], pad: int) -> dict[str, Any]:
    """Padded ids [n, longest] and labels, which leave the question and the padding out."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    learned = [torch.tensor([-100] * question + row[question:]) for row, question in examples]
    labels = pad_sequence(learned, batch_first=True, padding_value=-100)
    ids = pad_sequence([torch.tensor(row) for row, _ in examples], batch_first=True, padding_value=pad)
    return {"input_ids": ids, "attention_mask": (ids != pad).long(), "labels": labels}
