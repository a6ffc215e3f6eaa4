"""Labelled texts: SMS spam, sentences about films, Reuters-8, the intents of SNIPS, or one's own.

One's own are a file, or a folder with a file `train.…` and a file `test.…`, in UTF-8:

- `.csv` or `.tsv` with the columns `text` and `label` among others (see `perception.data.tables`); a `.tsv` without
  these names in its first line has a label, a tab and a text in each line.
- `.jsonl`: `{"text": "see you at 8", "label": "ham"}` in each line.

A single file is split at random; every class has the same share in both parts.
"""

from __future__ import annotations

import dataclasses
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch.utils.data import Dataset

from perception.data import sentences
from perception.data.source import DataError, DataSource
from perception.data.tables import read_table, read_text

SHIPPED = {"sms-spam": "Fathom", "movie-sentiment": "Fathom", **sentences.SHIPPED}
_LICENCES = {
    "sms-spam": "CC BY 4.0 (Almeida et al. 2011)",
    "movie-sentiment": "CC BY 4.0 (Pang & Lee 2005)",
    "snips": "CC0 1.0",
}
FOLDS = 10
"""Parts of a single file for cross-validation."""
_MOST_BYTES = 10_000_000
"""Of a file in an archive."""
_ELSEWHERE = {
    "r8": "Reuters-8 is the files data/R8.txt and data/corpus/R8.clean.txt of https://github.com/yao8839836/text_gcn"
    " (no licence stated), for a folder r8"
}
_ENDINGS = (".csv", ".tsv", ".jsonl")

_Length = Annotated[int, Field(ge=1, le=10)]

Rows = list[tuple[str, str]]
"""Texts with their labels."""


@dataclasses.dataclass
class Texts:
    """Training and test texts with their classes."""

    train: list[str]
    train_labels: torch.Tensor
    """(n,) int64, numbers of classes."""
    test: list[str]
    test_labels: torch.Tensor
    classes: list[str]
    origin: dict[str, Any]


def load_texts(
    source: DataSource,
    *,
    test_share: float = 0.3,
    split_seed: int = 0,
    fold: int | None = None,
) -> Texts:
    """Find and read labelled texts.

    Args:
        test_share, split_seed: how a single file is split.
        fold: the test is this one of ten folds, 0 to 9, in place of a share.

    Raises:
        DataError: there are none, or they cannot be used.
    """
    try:
        location = source.locate(SHIPPED)
    except DataError as error:
        if source.reference in _ELSEWHERE:
            raise DataError(f"{error}; {_ELSEWHERE[source.reference]}") from None
        raise
    folder = sentences.folder_of(location)
    train, test = _parts(folder)
    if test is None:
        train, test = _split(train, str(folder), test_share, split_seed, fold)
    elif fold:
        raise DataError(f"{source.reference} says which texts are the test, so there is no --fold")
    classes = sorted({label for _, label in train})
    if len(classes) < 2:
        raise DataError(
            f"all training texts of {source.reference} are of one class, {classes[0]!r}"
        )
    unknown = sorted({label for _, label in test} - set(classes))
    if unknown:
        raise DataError(
            f"the test texts of {source.reference} have the class {unknown[0]!r}, which the training"
            " texts lack"
        )
    sizes = {"train": len(train), "test": len(test)}
    licence = _LICENCES.get(Path(source.reference).name, "not stated")
    origin = {"name": source.reference, "found": location.found, "licence": licence, **sizes}
    return Texts(
        [text for text, _ in train],
        torch.tensor([classes.index(label) for _, label in train]),
        [text for text, _ in test],
        torch.tensor([classes.index(label) for _, label in test]),
        classes,
        origin,
    )


def _parts(path: Path) -> tuple[Rows, Rows | None]:
    """Training and test rows of a folder or a file; of what has to be split, all rows and None."""
    if path.is_file():
        return _read(path), None
    if (path / "R8.txt").is_file():
        return _reuters(path)
    if (path / "sentence_polarity.zip").is_file():
        return _polarity(path / "sentence_polarity.zip"), None
    known = [one for one in sorted(path.iterdir()) if one.suffix.lower() in _ENDINGS]
    train, test = ([one for one in known if one.stem.lower() == part] for part in ("train", "test"))
    if train and test and not _is_tagged(train[0]):
        return _read(train[0]), _read(test[0])
    if len(known) == 1 and not _is_tagged(known[0]):
        return _read(known[0]), None
    try:
        tagged = sentences.load(path)
    except DataError as error:
        if not train and not list(path.glob("*.json*")):
            raise DataError(
                f"{path} holds no texts in a known form: neither one file, nor train and test, of"
                f" {', '.join(_ENDINGS)}"
            ) from None
        raise error
    first, second = ([(" ".join(row.tokens), row.intent) for row in part] for part in tagged)
    return first, second


def _is_tagged(path: Path) -> bool:
    """Whether a file of JSON lines has tokens with tags, whose intent is the label."""
    return path.suffix == ".jsonl" and '"tokens"' in read_text(path).partition("\n")[0]


def _reuters(folder: Path) -> tuple[Rows, Rows]:
    """Reuters-8: texts in one file, and "number TAB split TAB label" of each in another."""
    texts = read_text(folder / "R8.clean.txt").split("\n")
    labels = [line.split("\t") for line in read_text(folder / "R8.txt").split("\n") if line]
    if len(texts) < len(labels) or any(len(row) != 3 for row in labels):
        raise DataError(f"R8.txt and R8.clean.txt in {folder} do not belong together")
    parts: tuple[Rows, Rows] = ([], [])
    for text, (_, part, label) in zip(texts, labels, strict=False):
        parts["test" in part].append((text, label))
    return parts


def _polarity(path: Path) -> Rows:
    """Sentence polarity: an archive of two files with a sentence per line."""
    rows = []
    try:
        with zipfile.ZipFile(path) as archive:
            for ending, label in (("neg", "negative"), ("pos", "positive")):
                info = archive.getinfo(f"sentence_polarity/rt-polarity.{ending}")
                if info.file_size > _MOST_BYTES:
                    raise DataError(f"{path}, {info.filename}: more than {_MOST_BYTES:,} bytes")
                lines = archive.read(info).decode("utf-8").split("\n")
                rows += [(line.strip(), label) for line in lines if line.strip()]
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not the archive of sentence polarity: {error}") from None
    return rows


def _read(path: Path) -> Rows:
    """The texts of a file of one's own."""
    if path.suffix.lower() not in _ENDINGS:
        raise DataError(f"{path} must be a file of {', '.join(_ENDINGS)}")
    rows = _json_lines(path) if path.suffix.lower() == ".jsonl" else _table(path)
    for line, text, label in rows:
        if not text.strip() or not label.strip():
            lacking = "label" if text.strip() else "text"
            raise DataError(f"{path}, line {line}: there is no {lacking}")
    if not rows:
        raise DataError(f"{path} has no texts")
    return [(text, label) for _, text, label in rows]


def _table(path: Path) -> list[tuple[int, str, str]]:
    table = read_table(path)
    head = [name.strip().lower() for name in table[0][1]]
    named = "text" in head and "label" in head
    if not named and (path.suffix.lower() == ".csv" or len(head) != 2):
        raise DataError(f"{path}, line 1: there must be columns named text and label")
    text, label = (head.index("text"), head.index("label")) if named else (1, 0)
    result = []
    for line, cells in table[named:]:
        if len(cells) != len(head):
            raise DataError(f"{path}, line {line}: {len(cells)} cells for {len(head)} columns")
        result.append((line, cells[text], cells[label]))
    return result


def _json_lines(path: Path) -> list[tuple[int, str, str]]:
    result = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except (ValueError, RecursionError):
            raise DataError(f"{path}, line {number}: not JSON") from None
        text, label = (
            (item.get("text"), item.get("label")) if isinstance(item, dict) else (None, None)
        )
        if not isinstance(text, str) or not isinstance(label, str):
            raise DataError(
                f"{path}, line {number}: there must be an object with the texts 'text' and 'label'"
            )
        result.append((number, text, label))
    return result


def _split(
    rows: Rows, reference: str, test_share: float, seed: int, fold: int | None
) -> tuple[Rows, Rows]:
    from sklearn.model_selection import StratifiedKFold, train_test_split

    labels = [label for _, label in rows]
    label, count = min(Counter(labels).items(), key=lambda item: item[1])
    if count < 2:
        raise DataError(
            f"{reference} has one text of the class {label!r}; two are needed, to learn from and to"
            " test with"
        )
    try:
        if fold is not None:
            if count < FOLDS:
                raise ValueError(f"{label!r} has {count}, and there are {FOLDS} folds")
            folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels)
            parts = list(folds)[fold]
            train, test = ([rows[number] for number in part] for part in parts)
            return train, test
        train, test = train_test_split(
            rows, test_size=test_share, random_state=seed, stratify=labels
        )
    except ValueError as error:
        raise DataError(f"{reference} has too few texts to be split: {error}") from None
    return train, test


# -- texts as numbers ------------------------------------------------------------------------------------


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class TfidfOptions:
    """Which terms a text has; they may come with a model from elsewhere."""

    analyzer: Literal["word", "char", "char_wb"] = "word"
    ngram_range: Annotated[list[_Length], Field(min_length=2, max_length=2)] = dataclasses.field(
        default_factory=lambda: [1, 1]
    )
    """Fewest and most words, or letters, of a term."""
    min_df: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Fewest texts that a term is in."""
    token_pattern: Literal[r"\w+"] = r"\w+"
    """What a word is; any other could take forever to match."""


class Tfidf:
    """TF-IDF vectors of texts (Spärck Jones 1972), by scikit-learn; a text gives a sparse row of length 1.

    Args:
        terms: the known terms, such as words, in the order of the columns.
        idf: inverse document frequency of each.
        options: the fields of `TfidfOptions`.
    """

    def __init__(
        self, terms: Sequence[str], idf: Sequence[float], options: Mapping[str, Any]
    ) -> None:
        self.vectorizer = _vectorizer(options, vocabulary=list(terms))
        self.vectorizer.idf_ = np.array(idf)
        self.size = len(terms)

    @staticmethod
    def fit(texts: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of an encoder for these texts, as JSON.

        Raises:
            DataError: the texts have no terms.
        """
        vectorizer = _vectorizer(options)
        try:
            vectorizer.fit(texts)
        except ValueError as error:
            raise DataError(f"the training texts have no words to learn from: {error}") from None
        return {
            "terms": vectorizer.get_feature_names_out().tolist(),
            "idf": [round(value, 6) for value in vectorizer.idf_.tolist()],
            "options": dict(options),
        }

    def __call__(self, texts: Sequence[str]) -> Any:
        """A sparse matrix (texts, terms) of SciPy's, float32."""
        return self.vectorizer.transform(texts).astype(np.float32)


def _vectorizer(options: Mapping[str, Any], **more: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    chosen = TfidfOptions(**options)
    return TfidfVectorizer(
        sublinear_tf=True,
        analyzer=chosen.analyzer,
        ngram_range=tuple(chosen.ngram_range),
        min_df=chosen.min_df,
        token_pattern=chosen.token_pattern if chosen.analyzer == "word" else None,
        **more,
    )


class WordNumbers:
    """Texts as the numbers of their words: 0 pads, 1 is any unknown word.

    Args:
        words: the known words; the first has number 2.
        longest: longer texts are cut.
    """

    PADDING, UNKNOWN = 0, 1

    def __init__(self, words: Sequence[str], longest: int) -> None:
        self.numbers = {word: number for number, word in enumerate(words, 2)}
        self.longest, self.size = longest, len(words) + 2

    @staticmethod
    def fit(texts: Sequence[str], longest: int, least: int = 2) -> dict[str, Any]:
        """The arguments of an encoder that knows the words seen in at least `least` texts, as JSON."""
        counts = Counter(word for text in texts for word in set(words_of(text)))
        words = sorted(word for word, count in counts.items() if count >= least)
        return {"words": words, "longest": longest}

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Numbers int32 (texts, longest of them), padded at the end."""
        rows = [
            [self.numbers.get(word, self.UNKNOWN) for word in words_of(text)[: self.longest]]
            for text in texts
        ]
        result = np.zeros((len(rows), max([1, *map(len, rows)])), np.int32)
        for place, row in enumerate(rows):
            result[place, : len(row)] = row
        return torch.from_numpy(result)


def words_of(text: str) -> list[str]:
    """The words and numbers of a text, in small letters."""
    return re.findall(r"\w+", text.lower())


class TextRows(Dataset[Any]):
    """Labelled texts with their encodings; an example is a text and its label.

    A batch is labels (n,), the texts, and the encodings: word numbers (n, longest of the batch), or terms,
    the place of each text's first term (n,), and the weights of the terms, as `nn.EmbeddingBag` takes them.
    """

    def __init__(self, texts: Sequence[str], labels: torch.Tensor, encode: Any) -> None:
        self.texts, self.labels, self.encoded = texts, labels, encode(texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[str, int]:
        return self.texts[index], int(self.labels[index])

    def __getitems__(self, indices: list[int]) -> tuple[Any, ...]:
        """A batch, which needs no collating."""
        texts = [self.texts[index] for index in indices]
        return self.labels[indices], texts, network_inputs(self.encoded[indices])

    @staticmethod
    def collate(batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """What `__getitems__` gives already is the batch."""
        return batch


def length_batches(encoded: torch.Tensor, size: int) -> list[list[int]]:
    """Batches of texts of about the same length, so that little is padded, in random order.

    Args:
        encoded: (n, longest) word numbers, padded with 0.
        size: texts of a batch.
    """
    lengths = (encoded > 0).sum(dim=1)
    batches = []
    for some in torch.randperm(len(encoded)).split(20 * size):
        batches += some[lengths[some].argsort()].split(size)
    return [batches[number].tolist() for number in torch.randperm(len(batches))]


def network_inputs(encoded: Any) -> tuple[torch.Tensor, ...]:
    """Encoded texts in the form that networks take (see `TextRows`)."""
    if isinstance(encoded, torch.Tensor):
        return (encoded[:, : max(1, int((encoded > 0).sum(dim=1).max()))],)
    terms, places = (
        torch.from_numpy(numbers).long() for numbers in (encoded.indices, encoded.indptr[:-1])
    )
    return terms, places, torch.from_numpy(encoded.data)
