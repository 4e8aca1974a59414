"""One sequence per prefix, as every other tool would render and tokenize it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openprm.scoring.encoding import DEFAULT_CHAT_TEMPLATE, encode, encode_prefixes, messages
from tests.tiny_models import CHAT_TEMPLATE, tokenizer

TRIMS = CHAT_TEMPLATE.replace("message['content']", "message['content'] | trim")
# After Qwen 3: an answer without thoughts gets empty ones, but only in the last turn; a new line after the turn.
THINKS = (
    "{% for message in messages %}<|{{ message['role'] }}|>"
    "{% if loop.last and message['role'] == 'assistant' and '</think>' not in message['content'] %}"
    "<think>\n\n</think>\n\n{% endif %}{{ message['content'] }}{{ eos_token }}\n{% endfor %}"
)
# After DeepSeek R1's: thoughts are cut off.
DROPS_THOUGHTS = CHAT_TEMPLATE.replace("message['content']", "message['content'].split('</think>')[-1]")
QUESTION = "What is the sum of two and three?"
STEPS = ["The sum of two and three is five", ".\n", "So the", " answer is five.\n"]

TOKENIZER = tokenizer()


def by_transformers(tok, answer: str) -> list[int]:
    chat = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": answer}]
    return tok.apply_chat_template(chat, tokenize=True, return_dict=False)


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, TRIMS, THINKS, DEFAULT_CHAT_TEMPLATE])
def test_every_prefix_is_what_apply_chat_template_gives(template):
    tok = tokenizer(template)
    found = list(encode_prefixes(tok, QUESTION, STEPS))
    assert found == [by_transformers(tok, "".join(STEPS[: size + 1])) for size in range(len(STEPS))]
    assert found[-1] == encode(tok, QUESTION, "".join(STEPS))
    assert list(encode_prefixes(tok, QUESTION, [])) == []
    for sequence in found:
        assert sequence.count(tok.bos_token_id) == (template != THINKS)
        assert tok.eos_token_id in sequence[-2:]
    suffix = tok.convert_tokens_to_ids("<|user|>")
    assert encode(tok, QUESTION, "Five", suffix="<|user|>") == [*encode(tok, QUESTION, "Five"), suffix]


@settings(max_examples=50)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_any_text(steps):
    found = list(encode_prefixes(TOKENIZER, QUESTION, steps))
    assert found == [by_transformers(TOKENIZER, "".join(steps[: size + 1])) for size in range(len(steps))]


def test_the_tokenizer_merges_across_steps_so_prefixes_are_not_token_prefixes():
    first, second, *_ = encode_prefixes(TOKENIZER, QUESTION, STEPS)
    assert second[: len(first) - 1] != first[:-1]


def test_padding_side_and_length_limit_of_the_tokenizer_change_nothing():
    other = tokenizer(padding_side="left", truncation_side="left", model_max_length=5)
    assert [*encode_prefixes(other, QUESTION, STEPS)] == [*encode_prefixes(TOKENIZER, QUESTION, STEPS)]


def test_the_default_template():
    chat = [{"role": "user", "content": " Hi"}, {"role": "assistant", "content": "Hello "}]
    tok = tokenizer(DEFAULT_CHAT_TEMPLATE)
    rendered = tok.apply_chat_template(chat, tokenize=False)
    assert rendered == "<s>user:\n Hi</s>\nassistant:\nHello </s>"
    prompt = tok.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True)
    assert rendered == prompt + "Hello </s>"
    encoder = tokenizer(DEFAULT_CHAT_TEMPLATE, bos_token=None, eos_token=None, cls_token="<s>", sep_token="</s>")
    assert encode(encoder, "Hi", "Hello") == encode(tokenizer(DEFAULT_CHAT_TEMPLATE), "Hi", "Hello")
    bare = tokenizer(DEFAULT_CHAT_TEMPLATE, bos_token=None, eos_token=None)
    assert bare.decode(encode(bare, "Hi", "Hello")) == "user:\nHi\nassistant:\nHello"


def test_without_a_chat_template_the_error_says_what_to_do():
    with pytest.raises(ValueError, match="DEFAULT_CHAT_TEMPLATE"):
        encode(tokenizer(None), QUESTION, "Five")


def test_an_answer_that_the_template_drops_is_an_error():
    tok = tokenizer(DROPS_THOUGHTS)
    assert encode(tok, QUESTION, "five") == by_transformers(tok, "five")
    with pytest.raises(ValueError, match=r"does not render the assistant's message as it is: 'Letmesee\.</think>"):
        encode(tok, QUESTION, "Let me see.</think>five")
    only_users = "{% for message in messages if message['role'] == 'user' %}{{ message['content'] }}{% endfor %}"
    with pytest.raises(ValueError, match="assistant's message"):
        encode(tokenizer(only_users), QUESTION, "five")


def test_a_system_message_that_the_template_drops_is_an_error_but_earlier_thoughts_may_go():
    question = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hm</think>Hello"},
        {"role": "user", "content": "Sum?"},
    ]
    tok = tokenizer(DROPS_THOUGHTS)
    assert "Hm" not in tok.decode(encode(tok, question, "five"))
    no_system = CHAT_TEMPLATE.replace("in messages %}", "in messages if message['role'] != 'system' %}")
    with pytest.raises(ValueError, match="system's message"):
        encode(tokenizer(no_system), [{"role": "system", "content": "Be brief"}, *question], "five")


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ("", "empty"),
        ([], "the question is empty"),
        (7, "the question is int"),
        (b"Hi", "the question is bytes"),
        (["Hi"], "message 0 of the question is 'Hi'"),
        ([{"role": "user", "content": "Hi"}, {"role": "user"}], "message 1 .* 'content'"),
        ([{"content": "Hi"}], "'role'"),
        ([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "'content'"),
    ],
)
def test_questions_that_cannot_be_read(question, complaint):
    with pytest.raises(ValueError, match=complaint):
        messages(question)


@pytest.mark.parametrize("steps", ["text", ["text", None]])
def test_steps_are_texts(steps):
    with pytest.raises(ValueError, match="list of texts"):
        list(encode_prefixes(TOKENIZER, QUESTION, steps))
