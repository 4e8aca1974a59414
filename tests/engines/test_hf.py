import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from openprm.engines.hf import TransformersGenerator
from openprm.records import Message

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<eot>{% endfor %}"
    "{% if add_generation_prompt %}assistant>{% endif %}"
)
PROMPTS: list[list[Message]] = [
    [{"role": "user", "content": text}] for text in ("Hi", "What is 2 + 2, and why is it so?", "Count.")
]


def make_tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<pad>", "<bos>", "<eos>", "<eot>"]
    vocab = {token: i for i, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        additional_special_tokens=["<eot>"],
        chat_template=TEMPLATE,
    )


def make_model(tokenizer):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,  # far from uniform, so that rounding does not decide greedy choices
        eos_token_id=tokenizer.convert_tokens_to_ids("<eot>"),
    )
    return LlamaForCausalLM(config)


class Scripted(LlamaForCausalLM):
    """Writes the same text for every prompt, whatever it reads: one token, seen from the one before."""

    def script(self, ids):
        following = dict(zip(ids, ids[1:], strict=False))
        self.forward_ids = {**following, "first": ids[0]}
        return self

    def forward(self, input_ids=None, **kwargs):
        output = super().forward(input_ids=input_ids, **kwargs)
        logits = torch.full_like(output.logits, -1e4)
        for row, token in enumerate(input_ids[:, -1].tolist()):
            logits[row, -1, self.forward_ids.get(token, self.forward_ids["first"])] = 0.0
        output.logits = logits
        return output


def scripted(tokenizer, text):
    model = Scripted(make_model(tokenizer).config)
    return TransformersGenerator(model.script(tokenizer(text)["input_ids"]), tokenizer)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def generator(tokenizer):
    return TransformersGenerator(make_model(tokenizer), tokenizer)


def test_greedy_does_not_depend_on_the_batch(generator):
    together = generator.generate(PROMPTS, temperature=0, max_new_tokens=12)
    for size in (1, 2):
        assert generator.generate(PROMPTS, temperature=0, max_new_tokens=12, batch_size=size) == together
    assert generator.generate(PROMPTS[::-1], temperature=0, max_new_tokens=12) == together[::-1]


def test_greedy_is_the_models_own_argmax(generator, tokenizer):
    (sample,) = generator.generate(PROMPTS[:1], temperature=0, max_new_tokens=5)[0]
    ids = tokenizer("<bos>user: Hi<eot>assistant>", add_special_tokens=False)["input_ids"]
    start = len(ids)
    for _ in range(sample["n_tokens"]):
        ids.append(int(generator.model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert tokenizer.decode(ids[start:], skip_special_tokens=True) == sample["text"]


def test_a_seed_gives_the_same_samples_and_leaves_the_callers_state(generator):
    options = {"n": 4, "temperature": 0.9, "top_p": 0.9, "max_new_tokens": 8}
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = generator.generate(PROMPTS, seed=1, **options)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert generator.generate(PROMPTS, seed=1, **options) == first
    assert generator.generate(PROMPTS, seed=2, **options) != first
    assert [len(samples) for samples in first] == [4, 4, 4]
    assert len({sample["text"] for sample in first[0]}) > 1


def test_the_models_generation_config_is_neither_used_nor_changed(tokenizer):
    plain, biased = make_model(tokenizer), make_model(tokenizer)
    biased.generation_config = GenerationConfig(
        do_sample=True, top_k=1, min_p=0.9, repetition_penalty=5.0, temperature=0.1, eos_token_id=3
    )
    results = [
        TransformersGenerator(model, tokenizer).generate(PROMPTS, n=3, max_new_tokens=8, seed=5)
        for model in (plain, biased)
    ]
    assert results[0] == results[1]
    assert biased.generation_config.repetition_penalty == 5.0


def test_the_end_of_turn_token_ends_and_is_stripped(tokenizer):
    generator = scripted(tokenizer, " ,b\n<eot>")
    (sample,) = generator.generate(PROMPTS[:1], temperature=0, max_new_tokens=20)[0]
    assert sample == {"text": " ,b\n", "n_tokens": 4, "finish_reason": "stop"}
    (cut,) = generator.generate(PROMPTS[:1], temperature=0, max_new_tokens=4)[0]
    assert cut == {"text": " ,b\n", "n_tokens": 4, "finish_reason": "length"}


def test_generated_padding_is_not_an_end(tokenizer):
    (sample,) = scripted(tokenizer, "a<pad>b<eot>").generate(PROMPTS[:1], temperature=0)[0]
    assert sample == {"text": "ab", "n_tokens": 3, "finish_reason": "stop"}


def test_stop_strings(tokenizer):
    generator = scripted(tokenizer, "abcdefgh<eot>")
    samples = generator.generate(PROMPTS, temperature=0, max_new_tokens=20, stop=["fg", "cd"])
    assert samples == [[{"text": "ab", "n_tokens": 4, "finish_reason": "stop"}]] * 3


def test_errors_and_no_prompts(generator, tokenizer):
    with pytest.raises(ValueError, match="greedy"):
        generator.generate(PROMPTS, n=2, temperature=0)
    assert generator.generate([]) == []
    endless = make_tokenizer()
    endless.eos_token = None
    model = make_model(tokenizer)
    model.generation_config.eos_token_id = None
    with pytest.raises(ValueError, match="end-of-turn"):
        TransformersGenerator(model, endless)
