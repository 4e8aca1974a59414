import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from openprm.engines.base import Batch, Sampling
from openprm.engines.chat_prompt import encode_prompt
from openprm.engines.transformers_generator import TransformersGenerator
from openprm.errors import InputError
from openprm.presets import toy_domain as tiny
from openprm.schema import Message

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<eot>{% endfor %}"
    "{% if add_generation_prompt %}assistant>{% endif %}"
)
BARE = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
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
        max_position_embeddings=128,
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


def greedy(max_new_tokens, **options):
    return Sampling(n=1, temperature=0, max_new_tokens=max_new_tokens, **options)


def sample_all(generator, prompts, sampling, seed=0, batch_size=64):
    generator.batch_size = batch_size
    return [answers.samples for answers in generator.sample(prompts, sampling, [seed] * len(prompts))]


def test_greedy_does_not_depend_on_the_batch(generator):
    together = sample_all(generator, PROMPTS, greedy(12), batch_size=3)
    for size in (1, 2):
        assert sample_all(generator, PROMPTS, greedy(12), batch_size=size) == together
    assert sample_all(generator, PROMPTS[::-1], greedy(12), batch_size=3) == together[::-1]


def test_greedy_is_the_models_own_argmax(generator, tokenizer):
    ((sample,),) = sample_all(generator, PROMPTS[:1], greedy(5))
    ids = tokenizer("<bos>user: Hi<eot>assistant>", add_special_tokens=False)["input_ids"]
    start = len(ids)
    for _ in range(sample["n_tokens"] - (sample["finish_reason"] == "stop")):
        ids.append(int(generator.lm(torch.tensor([ids])).logits[0, -1].argmax()))
    assert tokenizer.decode(ids[start:], skip_special_tokens=True) == sample["text"]


def test_a_seed_gives_the_same_samples_and_leaves_the_callers_state(generator):
    sampling = Sampling(n=4, temperature=0.9, top_p=0.9, max_new_tokens=8)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = sample_all(generator, PROMPTS, sampling, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert sample_all(generator, PROMPTS, sampling, seed=1) == first
    assert sample_all(generator, PROMPTS, sampling, seed=2) != first
    assert [len(samples) for samples in first] == [4, 4, 4]
    assert len({sample["text"] for sample in first[0]}) > 1


def test_batches_come_back_with_their_answers_and_seeds(generator):
    sampling = Sampling(n=2, max_new_tokens=4)
    batches = [Batch(index, PROMPTS[index:], [10 + index] * (3 - index)) for index in range(3)]
    found = list(generator.generate(iter(batches), sampling))
    assert [batch for batch, _ in found] == batches
    for batch, answers in found:
        assert answers == generator.sample(batch.questions, sampling, batch.seeds)
        assert [answer.seed for answer in answers] == batch.seeds


def test_tokens_are_reported_at_every_decoding_step(generator):
    calls: list[tuple[int, int]] = []
    sampling = Sampling(n=4, temperature=1.0, max_new_tokens=30)
    answers = generator.sample(PROMPTS, sampling, [1, 2, 3], report=lambda *call: calls.append(call))
    samples = [sample for one in answers for sample in one.samples]
    assert {sample["finish_reason"] for sample in samples} == {"stop", "length"}
    assert [sum(call) for call in zip(*calls, strict=True)] == [12, sum(sample["n_tokens"] for sample in samples)]
    assert len(calls) >= 30


def test_the_models_generation_config_is_neither_used_nor_changed(tokenizer):
    plain, biased = make_model(tokenizer), make_model(tokenizer)
    biased.generation_config = GenerationConfig(
        do_sample=True, top_k=1, min_p=0.9, repetition_penalty=5.0, temperature=0.1, eos_token_id=3
    )
    results = [
        TransformersGenerator(model, tokenizer).sample(PROMPTS, Sampling(n=3, max_new_tokens=8), [5, 6, 7])
        for model in (plain, biased)
    ]
    assert results[0] == results[1]
    assert biased.generation_config.repetition_penalty == 5.0


@pytest.mark.parametrize(
    ("script", "sampling", "sample"),
    [
        (" ,b\n<eot>", greedy(20), (" ,b\n", 5, "stop")),
        (" ,b\n<eot>", greedy(4), (" ,b\n", 4, "length")),
        ("a<pad>b<eot>", greedy(20), ("ab", 4, "stop")),  # generated padding is not an end
        ("abcdefgh<eot>", greedy(20, stop=("fg", "cd")), ("ab", 4, "stop")),
    ],
)
def test_how_responses_end(tokenizer, script, sampling, sample):
    expected = dict(zip(("text", "n_tokens", "finish_reason"), sample, strict=True))
    assert sample_all(scripted(tokenizer, script), PROMPTS, sampling) == [[expected]] * 3


def test_stop_texts_of_any_tokenizer():
    """A tokenizer of whole words, on which transformers' own stop strings fail."""
    words = tiny.tokenizer()
    generator = scripted(words, "First 3 up 4 is 7 .<eos>".replace("<eos>", words.eos_token))
    whole, stopped = (sample_all(generator, PROMPTS[:1], greedy(12, stop=stop))[0][0] for stop in ((), (" is",)))
    assert " is" in whole["text"]
    assert stopped["text"] == whole["text"].partition(" is")[0]
    assert stopped["finish_reason"] == "stop"


def test_a_system_prompt_and_another_template(generator, tokenizer):
    plain = encode_prompt(generator.tokenizer, PROMPTS[0], Sampling())
    assert tokenizer.decode(plain) == "<bos>user: Hi<eot>assistant>"
    system = Sampling(system_prompt="Be brief.", chat_template=BARE)
    assert tokenizer.decode(encode_prompt(generator.tokenizer, PROMPTS[0], system)) == "[Be brief.][Hi]"
    own = [{"role": "system", "content": "Mine."}, *PROMPTS[0]]
    assert tokenizer.decode(encode_prompt(generator.tokenizer, own, system)) == "[Mine.][Hi]"


def test_what_does_not_fit_is_a_failure_of_its_own(tokenizer):
    generator = scripted(tokenizer, "aba")  # without end
    long = [{"role": "user", "content": "x" * 200}]
    nearly = [{"role": "user", "content": "x" * 100}]
    refused = [{"role": "system", "content": "Be brief."}, *PROMPTS[0]]
    template = TEMPLATE + "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    questions = [PROMPTS[0], long, nearly, refused]
    first, second, third, fourth = generator.sample(questions, greedy(40, chat_template=template), [0] * 4)
    assert first.samples[0]["n_tokens"] == 40
    for found, reason in ((second, "the model 128 in all"), (fourth, "no system")):
        assert found.samples == []
        assert not found.failure.transient
        assert reason in found.failure.reason
    prompt = len(encode_prompt(generator.tokenizer, nearly, greedy(40)))
    assert third.samples[0]["n_tokens"] == 128 - prompt < 40
    assert third.samples[0]["finish_reason"] == "length"


def test_errors_and_no_prompts(generator, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="greedy"):
        Sampling(n=2, temperature=0)
    assert generator.sample([], Sampling(), []) == []
    endless = make_tokenizer()
    endless.eos_token = None
    model = make_model(tokenizer)
    model.generation_config.eos_token_id = None
    with pytest.raises(ValueError, match="end-of-turn"):
        TransformersGenerator(model, endless)
    with pytest.raises(InputError, match="cannot be loaded by AutoModelForCausalLM"):
        TransformersGenerator.load(str(tmp_path))
    for size in (0, "two", 1.5):
        with pytest.raises(InputError, match="batch_size"):
            TransformersGenerator(make_model(tokenizer), tokenizer, batch_size=size)


@pytest.mark.parametrize("tied", [False, True])
def test_a_checkpoint_without_a_language_models_head(tokenizer, tmp_path, tied):
    """A random one would write; a head that is tied to the embeddings is in them."""
    model = make_model(tokenizer)
    model.config.tie_word_embeddings = tied
    model.model.config = model.config
    model.model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    if tied:
        assert TransformersGenerator.load(str(tmp_path)).end_ids
    else:
        with pytest.raises(InputError, match=r"lacks weights \(lm_head\.weight\)"):
            TransformersGenerator.load(str(tmp_path))
