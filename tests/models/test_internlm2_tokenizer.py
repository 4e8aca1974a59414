"""InternLM2's tokenizer from its SentencePiece model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from openprm.errors import InputError
from openprm.models.internlm2 import convert_internlm2
from openprm.schema import Message
from openprm.scoring.encoding import encode
from tests.models.test_internlm2 import CONFIG, CONVERSATIONS, checkpoint


def test_a_sentencepiece_model_is_read_without_their_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sentencepiece = pytest.importorskip("sentencepiece")
    source = checkpoint(tmp_path / "theirs")
    (source / "tokenizer.json").unlink()
    corpus = [f"{question[-1]['content']} {response}" for question, response in CONVERSATIONS]
    with (source / "tokenizer.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus * 4),
            model_writer=file,
            model_type="bpe",
            vocab_size=340,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            user_defined_symbols=[f"[UNUSED_TOKEN_{index}]" for index in range(8)],
            hard_vocab_limit=False,
            minloglevel=2,
        )
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(source / "tokenizer.model"))
    start, end, reward = (theirs.piece_to_id(f"[UNUSED_TOKEN_{index}]") for index in (7, 6, 5))
    added = {
        index: {"content": text, "special": True} for index, text in ((start, "<|im_start|>"), (end, "<|im_end|>"))
    }
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    (source / "tokenizer_config.json").write_text(json.dumps({**names, "added_tokens_decoder": added}))
    size = theirs.get_piece_size()
    rows = torch.randn(size, CONFIG["hidden_size"], generator=torch.Generator().manual_seed(1))
    first = next(source.glob("model-00001*"))
    save_file({**load_file(first), "model.tok_embeddings.weight": rows}, first)
    (source / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": size, "reward_token_id": reward}))

    convert_internlm2(source, tmp_path / "ours")
    ours = AutoTokenizer.from_pretrained(tmp_path / "ours")
    recorded = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert recorded["openprm"]["suffix"] == "[UNUSED_TOKEN_5]"
    assert recorded["vocab_size"] == size
    for question, response in CONVERSATIONS:
        ids = [theirs.bos_id()]
        for turn in [*question, Message(role="assistant", content=response)]:
            ids += [start, *theirs.encode(f"{turn['role']}\n{turn['content']}"), end, *theirs.encode("\n")]
        assert encode(ours, question, response, recorded["openprm"]["suffix"]) == [*ids, reward]
        assert len(set(ids)) > 5
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(InputError, match=r"openprm\[internlm2\]"):
        convert_internlm2(source, tmp_path / "none")
    (source / "tokenizer.model").unlink()
    with pytest.raises(InputError, match=r"neither tokenizer\.json nor tokenizer\.model"):
        convert_internlm2(source, tmp_path / "none")
