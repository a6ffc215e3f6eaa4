"""Texts as numbers of symbols for networks that write them: subwords by byte-pair encoding, or single characters.

Byte-pair encoding (Sennrich et al. 2016) joins the most frequent neighbours, from characters to words. What is learnt
are two plain lists, symbols and joins, from which the `tokenizers` library is set up again: nothing of it is stored in
a form of its own.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from perception.networks.seq2seq import END, PADDING, SPECIAL, UNKNOWN

_SPACE = "▁"
_UNKNOWN = "<unk>"
# Every punctuation mark, digit and Chinese character is a word of its own.
_ALONE = r"[\p{P}\p{N}\p{Han}\p{Hiragana}\p{Katakana}]"


class Symbols(ABC):
    """What knows symbols by number; those of texts begin with `SPECIAL`.

    Args:
        symbols: all of them, in the order of their numbers.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = symbols
        self.size = SPECIAL + len(symbols)

    @abstractmethod
    def split(self, texts: Sequence[str]) -> list[list[int]]:
        """Numbers of the symbols of texts, without an end; unknown ones are `UNKNOWN`."""

    def join(self, numbers: Iterable[int]) -> str:
        """The text of numbers; numbers that stand for no symbol of a text are left out."""
        return "".join(self.names(numbers)).replace(_SPACE, " ").strip()

    def names(self, numbers: Iterable[int]) -> list[str]:
        """The symbols of numbers."""
        return [self.symbols[number - SPECIAL] for number in numbers if number >= SPECIAL]

    def __call__(self, texts: Sequence[str], longest: int) -> Tensor:
        """Numbers int32 (texts, longest of them), each text with its end, padded.

        Args:
            longest: symbols after which a text is cut.
        """
        rows = [[*row[:longest], END] for row in self.split(texts)]
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        places = torch.arange(max(map(len, rows), default=1))
        result = torch.full((len(rows), len(places)), PADDING, dtype=torch.int32)
        result[places < lengths.unsqueeze(1)] = torch.tensor(
            [number for row in rows for number in row], dtype=torch.int32
        )
        return result


class Characters(Symbols):
    """Single characters."""

    def __init__(self, symbols: Sequence[str]) -> None:
        super().__init__(symbols)
        self._numbers = {symbol: number for number, symbol in enumerate(symbols, SPECIAL)}

    @staticmethod
    def fit(texts: Iterable[str]) -> dict[str, Any]:
        """The arguments for these texts, as JSON."""
        return {"symbols": sorted({sign for text in texts for sign in text})}

    def split(self, texts: Sequence[str]) -> list[list[int]]:
        return [[self._numbers.get(sign, UNKNOWN) for sign in text] for text in texts]

    def join(self, numbers: Iterable[int]) -> str:
        return "".join(self.names(numbers))


class Subwords(Symbols):
    """Subwords by byte-pair encoding; a space becomes part of the word after it.

    Args:
        joins: pairs of symbols that become one, in the order in which they were learnt.

    Raises:
        ValueError: a join is of unknown symbols.
    """

    def __init__(self, symbols: Sequence[str], joins: Sequence[Sequence[str]]) -> None:
        from tokenizers import Tokenizer, models

        super().__init__(symbols)
        vocabulary = {symbol: number for number, symbol in enumerate(symbols, SPECIAL)}
        pairs = [(str(left), str(right)) for left, right in joins]
        for left, right in pairs:
            if not {left, right, left + right} <= vocabulary.keys():
                raise ValueError(f"no symbols for the join of {left!r} and {right!r}")
        model = models.BPE(vocabulary | {_UNKNOWN: UNKNOWN}, pairs, unk_token=_UNKNOWN)
        self._tokenizer = Tokenizer(model)
        self._tokenizer.pre_tokenizer = _pre_tokenizer()

    @staticmethod
    def fit(texts: Sequence[str], size: int) -> dict[str, Any]:
        """The arguments for texts, as JSON.

        Args:
            size: the most symbols; rare characters are left out if there are more.
        """
        from tokenizers import Tokenizer, models, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = _pre_tokenizer()
        trainer = trainers.BpeTrainer(
            vocab_size=size, min_frequency=2, limit_alphabet=size, show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        model = json.loads(tokenizer.to_str())["model"]
        symbols = sorted(model["vocab"], key=model["vocab"].__getitem__)
        return {"symbols": symbols, "joins": [list(pair) for pair in model["merges"]]}

    def split(self, texts: Sequence[str]) -> list[list[int]]:
        # What came as no UTF-8 from a command line has surrogates, which become question marks.
        whole = [text.encode("utf-8", "replace").decode() for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch(whole)]


def _pre_tokenizer() -> Any:
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(_SPACE), pre_tokenizers.Split(Regex(_ALONE), "isolated")]
    )
