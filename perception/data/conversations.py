"""Questions with answers for a chat bot: Microsoft's small talk of five personalities, or one's own.

One's own are

- a `.qna` file, as Microsoft's QnA Maker writes it: `# ? question`, further wordings each in a line `- question`, and the
  answer between ```` ```markdown ```` and ```` ``` ````;
- a `.tsv` file: question, tab, answer in each line; questions with the same answer are wordings of one scenario.

A fifth of the wordings of each scenario is the test.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from perception.data.pairs import Pair, Pairs, read_lines, read_pairs
from perception.data.source import DataError, DataSource

SHIPPED = {"chitchat": "Fathom"}
_LICENCES = {"chitchat": "MIT (Microsoft)"}
_TEST_EVERY = 5


def load_conversations(source: DataSource, language: str, personality: str, wordings: int) -> Pairs:
    """Find and read questions with answers.

    Args:
        language, personality: which file of `chitchat`, such as "english" and "friendly".
        wordings: most of an answer's questions that are used.

    Raises:
        DataError: there are none, or they cannot be used.
    """
    location = source.locate(SHIPPED)
    path = Path(__file__).parent / "chitchat" if location.kind == "shipped" else location.path
    if path.is_dir():
        name = f"{language}/qna_chitchat_{personality}.qna"
        found = [
            path / f"{name}{ending}"
            for ending in ("", ".gz")
            if (path / f"{name}{ending}").is_file()
        ]
        if not found:
            raise DataError(f"{path} has no {name}; give a .qna or .tsv file")
        path = found[0]
    is_table = path.suffix.lower() == ".tsv"
    train, test = split(read_pairs(path) if is_table else read_qna(path), wordings)
    if train and not test:
        raise DataError(
            f"{source.reference} has no answer with {_TEST_EVERY} wordings of its question or more, of which"
            " every fifth is the test"
        )
    licence = _LICENCES.get(Path(source.reference).name, "not stated")
    origin = {"name": source.reference, "found": location.found, "licence": licence}
    return Pairs(train, test, origin | {"file": path.name})


def read_qna(path: Path) -> list[Pair]:
    """Questions with their answers of a .qna file, which may be compressed by gzip.

    Raises:
        DataError: it cannot be read, or questions and answers do not alternate.
    """
    pairs: list[Pair] = []
    questions: list[str] = []
    answer: list[str] | None = None  # its lines, while it goes on
    for number, line in enumerate(read_lines(path), 1):
        if answer is not None:
            if line != "```":
                answer.append(line)
                continue
            text = " ".join(" ".join(answer).split())
            if not questions or not text:
                raise DataError(
                    f"{path}, line {number}: an answer without {'a text' if questions else 'a question'}"
                )
            pairs += [(question, text) for question in questions]
            questions, answer = [], None
        elif line.startswith("```"):
            answer = []
        elif line.startswith("# ?"):
            if questions:
                raise DataError(f"{path}, line {number}: the question before has no answer")
            questions = [line[3:].strip()]
        elif line.startswith("- ") and questions and " = " not in line:
            questions.append(line[2:].strip())
    if questions or answer is not None:
        raise DataError(f"{path}: the last question has no answer")
    if not pairs:
        raise DataError(f"{path} has no questions, such as a line '# ? How are you?'")
    return [(question, text) for question, text in pairs if question]


def split(pairs: Sequence[Pair], wordings: int) -> tuple[list[Pair], list[Pair]]:
    """Training and test pairs: every fifth wording of an answer is the test, of `wordings` at most.

    Wordings that differ in capitals and punctuation only are one, and so is one that has several answers.
    """
    seen: set[str] = set()
    counts: dict[str, int] = {}
    parts: tuple[list[Pair], list[Pair]] = ([], [])
    for question, answer in pairs:
        plain = " ".join(re.findall(r"\w+", question.lower())) or question
        if plain in seen:
            continue
        seen.add(plain)
        counts[answer] = counts.get(answer, 0) + 1
        if counts[answer] <= wordings:
            parts[counts[answer] % _TEST_EVERY == 0].append((question, answer))
    return parts
