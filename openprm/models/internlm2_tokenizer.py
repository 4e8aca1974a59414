"""InternLM2's tokenizer as a plain fast one, without remote code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError


def load_tokenizer(source: Path, reward_token_id: int) -> tuple[Any, Callable[[str], list[int]]]:
    """The tokenizer in `source` as a plain fast one, and a function from a rendered conversation to InternLM2's ids.

    The reward token, and an unused token to pad with, are special tokens of the plain one.

    Raises InputError if there is no tokenizer, chat template or such reward token, or if sentencepiece is needed but
    not installed.
    """
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    if (source / "tokenizer.json").is_file():
        original: Any = PreTrainedTokenizerFast.from_pretrained(source)
        ids = lambda text: original(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    elif (source / "tokenizer.model").is_file():
        original, ids = _from_sentencepiece(source)
    else:
        raise InputError(f"{source} has neither tokenizer.json nor tokenizer.model; get the model again")
    if not original.chat_template:
        raise InputError(
            f"{source}: its tokenizer has no chat template, as InternLM2's reward models do; get it again"
        )
    reward = original.convert_ids_to_tokens(reward_token_id)
    if reward is None:
        raise InputError(f"{source}: reward_token_id is {reward_token_id}, which its tokenizer does not know")
    backend = Tokenizer.from_str(original.backend_tokenizer.to_str())
    vocabulary = sorted(backend.get_vocab().items(), key=lambda token: token[1])
    unused = [text for text, _ in vocabulary if re.fullmatch(r"\[UNUSED_TOKEN_\d+\]", text) and text != reward]
    special = [AddedToken(text, special=True, normalized=False) for text in [reward, *unused[:1]]]
    backend.add_special_tokens(special)  # what is in the vocabulary keeps its id
    kept = ("bos_token", "eos_token", "unk_token", "pad_token", "model_max_length", "chat_template")
    settings = {name: getattr(original, name) for name in kept}
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **settings), ids


def _from_sentencepiece(source: Path) -> tuple[Any, Callable[[str], list[int]]]:
    """A fast tokenizer from a SentencePiece BPE model like InternLM2's: byte fallback, no normalization."""
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
    for text, index in added.items():  # some replace unused pieces
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
