"""The domain of the preset `tiny`: a dial with ten positions, turned and flipped.

    The dial shows 3. First turn it up 4. Second flip it. Third turn it down 2. What does it show?

    First 3 up 4 is 7.
    Second 7 flipped is 2.
    Third 2 down 2 is 0.
    The answer is 0

To flip is to go to the opposite position, five further. The policy learns from sloppy solutions, most of which flip
wrongly, always in the same way (see `SLOPPY`). So it makes mistakes of two kinds: slips, which differ from sample to
sample and which a majority vote repairs, and a misconception that most samples share, which a vote confirms. There are
few enough single steps that a small reward model can learn, from final answers alone, which of them are wrong.
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
ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth")
SEPARATOR = ".\n"
#: Share of the flips in the solutions the policy learns from that go to the mirrored position, 9 - x.
SLOPPY = 0.6
#: Every tenth dial is for testing: which one, its digits decide, so no split holds a dial of another.
SPLITS = {"train": range(0, 9), "test": range(9, 10)}


@dataclass(frozen=True)
class Dial:
    """An instruction: a first position, and turns: up or down by 1 to 5, or "flip"."""

    start: int
    turns: tuple[tuple[str, int], ...]

    @property
    def question(self) -> str:
        said = {"up": "turn it up {}.", "down": "turn it down {}.", "flip": "flip it."}
        turns = " ".join(f"{n} {said[turn].format(k)}" for n, (turn, k) in zip(ORDINALS, self.turns, strict=False))
        return f"The dial shows {self.start}. {turns} What does it show?"

    def positions(self) -> list[int]:
        """The positions on the way, the first one included."""
        return list(accumulate(self.turns, lambda position, turn: turned(position, *turn), initial=self.start))

    @property
    def reference(self) -> str:
        return str(self.positions()[-1])


def turned(position: int, turn: str, amount: int, sloppy: bool = False) -> int:
    """Where a turn ends; a sloppy flip ends at the mirrored position."""
    if turn == "flip":
        return POSITIONS - 1 - position if sloppy else (position + POSITIONS // 2) % POSITIONS
    return (position + (amount if turn == "up" else -amount)) % POSITIONS


def dials(n: int, seed: int, split: str = "train") -> list[Dial]:
    """n distinct dials with three to five turns; two thirds of them with flips."""
    rng = random.Random(f"{split} {seed}")
    found: dict[Dial, None] = {}
    while len(found) < n:
        amounts = [rng.randint(1, 5) for _ in range(rng.randint(3, 5))]
        turns = [(rng.choice(["up", "down"]), amount) for amount in amounts]
        if rng.random() < 2 / 3:
            turns[rng.randrange(len(turns))] = ("flip", 0)
        dial = Dial(rng.randrange(POSITIONS), tuple(turns))
        digits = dial.start + sum((index + 2) * amount for index, (_, amount) in enumerate(dial.turns))
        if digits % 10 in SPLITS[split]:
            found[dial] = None
    return list(found)


def solution(dial: Dial, rng: random.Random, sloppy: float = SLOPPY) -> str:
    """A solution as the policy sees them: step by step, and with flips that are wrong with this probability."""
    position, steps = dial.start, []
    for ordinal, (turn, amount) in zip(ORDINALS, dial.turns, strict=False):
        after = turned(position, turn, amount, sloppy=turn == "flip" and rng.random() < sloppy)
        done = "flipped" if turn == "flip" else f"{turn} {amount}"
        steps.append(f"{ordinal} {position} {done} is {after}")
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

    words = [*"The dial shows turn it up down flip What does show answer is flipped ?".split(), *ORDINALS]
    pieces = [" ", ".", "\n", SEPARATOR, *(blank + word for word in [*words, *"0123456789"] for blank in ("", " "))]
    special = ["<pad>", "<s>", "<|end|>", "<unk>", "<|user|>", "<|assistant|>"]
    vocabulary = {piece: index for index, piece in enumerate([*special, *pieces])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[A-Za-z]+| ?[0-9]| ?\?|\.\n|[\s\S]"), "isolated")
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

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        initializer_range=0.1,  # about 1 / sqrt(hidden size): the usual 0.02 learns many times more slowly
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps, pct_start=0.1)
    rng = random.Random(seed)
    examples = _encoded(tokenizer, [(dial, solution(dial, rng)) for dial in dials(10_000, seed)])
    for _ in tqdm(range(steps), "policy", unit=" steps", disable=None):
        loss = model(**_batch(rng.sample(examples, batch_size), tokenizer.pad_token_id)).loss
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
        whole.append(tokenizer.apply_chat_template([question, {"role": "assistant", "content": answer}], tokenize=False))
    ids, questions = (tokenizer(texts, add_special_tokens=False)["input_ids"] for texts in (whole, asked))
    return [(row, len(question)) for row, question in zip(ids, questions, strict=True)]


def _batch(examples: Sequence[tuple[list[int], int]], pad: int) -> dict[str, Any]:
    """Padded ids [n, longest] and labels, which leave the question and the padding out."""
    import torch

    longest = max(len(row) for row, _ in examples)
    ids = torch.full((len(examples), longest), pad)
    labels = torch.full_like(ids, -100)
    for index, (row, question) in enumerate(examples):
        ids[index, : len(row)] = torch.tensor(row)
        labels[index, question : len(row)] = torch.tensor(row[question:])
    return {"input_ids": ids, "attention_mask": (ids != pad).long(), "labels": labels}
