"""InternLM2's tokenizer as one of transformers' own, without running InternLM2's code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError


def load_tokenizer(source: Path) -> tuple[Any, Callable[[str], list[int]]]:
    """The tokenizer in `source`, and what gives the ids of a rendered conversation as theirs does.

    Raises InputError where there is none, it has no chat template, or the library that reads it is missing.
    """
    from transformers import PreTrainedTokenizerFast

    if (source / "tokenizer.json").is_file():
        tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(source)
        ids = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    elif (source / "tokenizer.model").is_file():
        tokenizer, ids = _from_sentencepiece(source)
    else:
        raise InputError(f"{source} has neither tokenizer.json nor tokenizer.model; get the model again")
    if not tokenizer.chat_template:
        raise InputError(
            f"{source}: its tokenizer has no chat template, as InternLM2's reward models do; get it again"
        )
    return tokenizer, ids


def _from_sentencepiece(source: Path) -> tuple[Any, Callable[[str], list[int]]]:
    """A fast tokenizer of a SentencePiece BPE model with byte fallback and no normalization, as InternLM2's is."""
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise InputError(
            f"{source} has no tokenizer.json, and reading its tokenizer.model needs the extra: "
            "pip install 'openprm[internlm2]'"
        ) from error
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import generate_merges

    pieces = SentencePieceProcessor(model_file=str(source / "tokenizer.model"))
    settings = json.loads((source / "tokenizer_config.json").read_text("utf-8"))
    special = {
        name: value["content"] if isinstance(value, dict) else value
        for name in ("unk_token", "bos_token", "eos_token", "pad_token")
        if (value := settings.get(name)) is not None
    }
    texts = [pieces.id_to_piece(index) for index in range(pieces.get_piece_size())]
    listed = settings.get("added_tokens_decoder", {})
    added = {listed[index]["content"]: int(index) for index in sorted(listed, key=int)}
    added.update({text: texts.index(text) for text in special.values() if text not in added})
    for text, index in added.items():  # some take the place of unused pieces
        texts[index] = text
    vocabulary = {text: index for index, text in enumerate(texts)}
    plain = [index for index in range(len(texts)) if not (pieces.is_control(index) or pieces.is_byte(index))]
    merges = generate_merges(vocabulary, {texts[index]: pieces.get_score(index) for index in plain})
    backend = Tokenizer(
        models.BPE(vocabulary, merges, unk_token=special.get("unk_token"), fuse_unk=True, byte_fallback=True)
    )
    spaces: list[Any] = [normalizers.Replace(" ", "▁")]
    if pieces.encode("a", out_type=str)[0].startswith("▁"):
        spaces.insert(0, normalizers.Prepend("▁"))
    backend.normalizer = normalizers.Sequence(spaces)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in added])
    template = source / "chat_template.jinja"
    chat_template = template.read_text("utf-8") if template.is_file() else settings.get("chat_template")
    between = re.compile("(" + "|".join(map(re.escape, sorted(added, key=len, reverse=True))) + ")")

    def ids(text: str) -> list[int]:
        parts = filter(None, between.split(text))
        return [token for part in parts for token in ([added[part]] if part in added else pieces.encode(part))]

    return PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=chat_template, **special), ids


def plain_tokenizer(original: Any, reward_token_id: int, source: Path) -> Any:
    """The tokenizer as one of transformers' own, its reward token and an unused one (for padding) known as special."""
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    reward = original.convert_ids_to_tokens(reward_token_id)
    if reward is None:
        raise InputError(f"{source}: reward_token_id is {reward_token_id}, which its tokenizer does not know")
    backend = Tokenizer.from_str(original.backend_tokenizer.to_str())
    vocabulary = sorted(backend.get_vocab().items(), key=lambda token: token[1])
    unused = [text for text, _ in vocabulary if re.fullmatch(r"\[UNUSED_TOKEN_\d+\]", text) and text != reward]
    special = [AddedToken(text, special=True, normalized=False) for text in [reward, *unused[:1]]]
    backend.add_special_tokens(special)  # what is in the vocabulary keeps its id
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=original.bos_token,
        eos_token=original.eos_token,
        unk_token=original.unk_token,
        pad_token=original.pad_token,
        model_max_length=original.model_max_length,
        clean_up_tokenization_spaces=False,
        chat_template=original.chat_template,
    )
