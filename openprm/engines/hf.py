"""Sample responses with transformers: for small models, laptops and tests (big runs go to vLLM).

    generator = TransformersGenerator(model, tokenizer)
    samples = generator.generate([[{"role": "user", "content": "2+2?"}]], n=16, temperature=0.5, seed=7)
    samples[0][3]["text"]

One call is the unit of work that can be repeated: the same prompts in the same order, arguments, versions
and device give the same samples. A run that may be resumed calls once per shard, each with its own seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

import torch
from transformers import GenerationConfig

from ..records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Sample(TypedDict):
    """One sampled response.

    `text` is without the end-of-turn token, special tokens and the stop string. `n_tokens` counts what was
    generated, the stop string's tokens too, but not the end-of-turn token. `finish_reason` is "length"
    where `max_new_tokens` cut the response.
    """

    text: str
    n_tokens: int
    finish_reason: Literal["stop", "length"]


class TransformersGenerator:
    """Generates with a causal language model and its tokenizer, which has a chat template.

    The model stays on its device and is put into evaluation mode. A response ends at the tokenizer's EOS
    token or at one of those in the model's generation config; nothing else is taken from that config (its
    temperature, top-k or penalties): what is sampled from is what the caller says. Raises ValueError where
    there is no such token.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        configured = model.generation_config.eos_token_id
        ends = {tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
        self.end_ids = sorted(token for token in ends if token is not None)
        if not self.end_ids:
            raise ValueError("neither the tokenizer nor the model's generation config names an end-of-turn token")

    def generate(
        self,
        prompts: Sequence[list[Message]],
        *,
        n: int = 1,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_new_tokens: int = 512,
        stop: list[str] | None = None,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> list[list[Sample]]:
        """`n` samples for each prompt, in order.

        A temperature of 0 is greedy. `batch_size` prompts (default: all) are generated at a time, `n`
        sequences each, and all of them draw from one random stream that `seed` begins: sampled responses
        depend on the batch size, greedy ones do not. The caller's random state is left as it was. A
        response ends before the first of the `stop` strings. Raises ValueError for `n > 1` with a
        temperature of 0.
        """
        if temperature == 0 and n > 1:
            raise ValueError("greedy samples of one prompt are all alike: use n=1, or a temperature above 0")
        config = GenerationConfig(
            max_new_tokens=max_new_tokens,
            num_return_sequences=n,
            eos_token_id=self.end_ids,
            # Finished rows are filled with an end token too, so that the first one always marks the end:
            # a model may well generate its padding token.
            pad_token_id=self.end_ids[0],
            stop_strings=stop,
            **(
                {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
                if temperature
                else {"do_sample": False}
            ),
        )
        size = batch_size or max(len(prompts), 1)
        device = self.model.device
        samples: list[list[Sample]] = []
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            for start in range(0, len(prompts), size):
                samples += self._batch(prompts[start : start + size], config)
        return samples

    def _batch(self, prompts: Sequence[list[Message]], config: GenerationConfig) -> list[list[Sample]]:
        input_ids, attention_mask = self._encode(prompts)
        # transformers fills what `config` leaves open from the model's own generation config.
        own_config = self.model.generation_config
        self.model.generation_config = GenerationConfig()
        try:
            output = self.model.generate(
                input_ids=input_ids,
                attention_mask=attention_mask,
                generation_config=config,
                tokenizer=self.tokenizer,
            )
        finally:
            self.model.generation_config = own_config
        rows = output[:, input_ids.shape[1] :].tolist()
        rows = [row[: next((i for i, token in enumerate(row) if token in self.end_ids), None)] for row in rows]
        texts = self.tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        samples = [_sample(text, len(row), config) for text, row in zip(texts, rows, strict=True)]
        n = config.num_return_sequences
        return [samples[i : i + n] for i in range(0, len(samples), n)]

    def _encode(self, prompts: Sequence[list[Message]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, (prompts, longest), padded on the left."""
        conversations = [[{"role": m["role"], "content": m["content"]} for m in prompt] for prompt in prompts]
        texts = self.tokenizer.apply_chat_template(conversations, add_generation_prompt=True, tokenize=False)
        rows = self.tokenizer(texts, add_special_tokens=False)["input_ids"]  # the template renders BOS itself
        longest = max(len(row) for row in rows)
        pad = self.end_ids[0]  # masked: any token does
        input_ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        return input_ids.to(self.model.device), mask.to(self.model.device)


def _sample(text: str, n_tokens: int, config: GenerationConfig) -> Sample:
    # generate() ends at a stop string; what else its last token holds is cut off here.
    stops = [at for stop in config.stop_strings or () if (at := text.find(stop)) >= 0]
    return {
        "text": text[: min(stops)] if stops else text,
        "n_tokens": n_tokens,
        "finish_reason": "stop" if stops or n_tokens < config.max_new_tokens else "length",
    }
