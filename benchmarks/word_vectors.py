"""How fast are `word-vectors` and gensim, and how well do their vectors agree with people?

Both learn by skip-gram and by CBOW from the same texts, one thread each and in turns: Reuters-8, the movie reviews and
sentences of `movie-sentiment`, and the English captions of Multi30k, all from FATHOM_DATA. The speed is words of the
text (rare ones left out) by seconds of processor time, of the training alone; Fathom's is measured through the task, with
its batches. Agreement is the rank correlation with WordSim-353, whose pairs come with gensim. Learning rates are each
one's own default: 0.025, and 0.075 for Fathom's CBOW, whose gradient is divided by the size of the context.

    FATHOM_DATA=… python benchmarks/word_vectors.py
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import RESULTS, in_turns, keep, machine, versions  # isort: skip - lies beside this file


import numpy as np
import torch

from perception.data.source import DataSource
from perception.tasks.task import TaskData
from perception.tasks.word_scores import correlation, similarities
from perception.tasks.word_vectors import WordVectors, WordVectorsConfig

EPOCHS, TURNS = 5, 2


def lines(home: Path) -> Iterator[str]:
    """The texts of the corpus, one a line."""
    yield from (home / "r8" / "R8.clean.txt").read_text().splitlines()
    with gzip.open(home / "multi30k" / "train.en.gz", "rt", encoding="utf-8") as file:
        yield from file.read().splitlines()
    for name in ("movie_reviews", "sentence_polarity"):
        with zipfile.ZipFile(home / "movie-sentiment" / f"{name}.zip") as archive:
            for member in sorted(archive.namelist()):
                if "/" in member and not member.endswith(("/", "README")):
                    yield from archive.read(member).decode("latin1").splitlines()


class Measurement:
    """Trains with another seed each time it is called; gives words per second and the correlation."""

    def __init__(self, method: str, data: TaskData) -> None:
        self.method, self.data, self.seed = method, data, 0

    def __call__(self) -> dict[str, Any]:
        self.seed += 1
        seconds, pairs = self.train()
        words = EPOCHS * self.data.origin["words"]
        result = {
            "words_per_second": round(words / seconds),
            "wordsim353": round(correlation(pairs), 4),
            "pairs": len(pairs),
        }
        print(self.method, type(self).__name__, result, file=sys.stderr, flush=True)
        return result

    def train(self) -> tuple[float, np.ndarray]:
        """Processor seconds of the training, and the judged pairs with their cosines."""
        raise NotImplementedError


class Fathom(Measurement):
    """The task, with larger batches than its default."""

    def train(self) -> tuple[float, np.ndarray]:
        torch.manual_seed(self.seed)
        config: Any = {"method": self.method, "epochs": EPOCHS, "batch_size": 40}
        task = WordVectors(WordVectorsConfig(**config), self.data.metadata)
        start, step = time.process_time(), 0
        for _ in range(EPOCHS):
            for batch in task.batches(self.data.train, training=True):
                task.train_step(batch, step)
                step += 1
        return time.process_time() - start, similarities(task.vectors, task.numbers)


class Gensim(Measurement):
    """Word2Vec with the task's settings."""

    def train(self) -> tuple[float, np.ndarray]:
        from gensim.models import Word2Vec

        words = self.data.metadata["words"]
        stream = self.data.train.tensors[0].flatten().numpy()  # type: ignore[attr-defined]
        texts = [
            [words[number] for number in text if number >= 0]
            for text in np.split(stream, np.flatnonzero(stream < 0))
        ]
        model = Word2Vec(
            vector_size=100, window=5, negative=5, sample=1e-3, min_count=5, workers=1,
            sg=self.method == "skip-gram", seed=self.seed,
        )  # fmt: skip
        model.build_vocab(texts)
        start = time.process_time()
        model.train(texts, total_examples=len(texts), epochs=EPOCHS)
        seconds = time.process_time() - start
        vectors = torch.from_numpy(np.stack([model.wv[word] for word in words]))
        return seconds, similarities(vectors, {word: n for n, word in enumerate(words)})


def main() -> None:
    if "FATHOM_DATA" not in os.environ:
        raise SystemExit("the texts are read from $FATHOM_DATA, which is not set")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.txt"
        path.write_text(
            "\n".join(line for line in lines(Path(os.environ["FATHOM_DATA"])) if line.strip())
        )
        data = WordVectors.load_data(WordVectorsConfig(), DataSource(str(path)))
    about = {
        "texts": "r8, multi30k English, movie_reviews, sentence_polarity",
        "words": data.origin["words"],
        "vocabulary": len(data.metadata["words"]),
        "epochs": EPOCHS,
        "settings": "100 numbers, window 5, 5 noise words, subsample 1e-3, min_count 5",
        "machine": machine(1),
        **versions("torch", "numba", "gensim"),
    }
    for method in ("skip-gram", "cbow"):  # compile
        warm = WordVectors(WordVectorsConfig(method=method), data.metadata)  # type: ignore[arg-type]
        warm.train_step((data.train[:1][0],), 0)  # type: ignore[index]
    results: dict[str, Any] = {
        "about": about,
        "ppmi": dict(zip(("told", "wordsim353", "pairs"), data.metadata["baseline"], strict=True)),
    }
    for method in ("skip-gram", "cbow"):
        kinds = {"fathom": Fathom(method, data), "gensim": Gensim(method, data)}
        results[method] = in_turns(kinds, TURNS)
        keep(RESULTS / "word_vectors.json", results)
    print("| method | | words per second | WordSim-353 |\n|---|---|---|---|")
    for method in ("skip-gram", "cbow"):
        for name, rows in results[method].items():
            speed, agreement = (
                statistics.mean(row[key] for row in rows)
                for key in ("words_per_second", "wordsim353")
            )
            print(f"| {method} | {name} | {speed:,.0f} | {agreement:.3f} |")
    print(json.dumps(results["ppmi"]))


if __name__ == "__main__":
    main()
