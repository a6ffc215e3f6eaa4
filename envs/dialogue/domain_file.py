"""Reads and checks a domain file; an error is one sentence with the file's line.

The file is read as YAML nodes, never as Python objects: a value is its text (7:30 stays 7:30, yes stays yes),
and every node has its line. Aliases, tags and deep nesting are refused while parsing, so that a small file
cannot expand to a large one.
"""

from collections.abc import Sequence
from pathlib import Path

import yaml

from envs.dialogue.domain import Domain, DomainError, Slot, build_domain
from envs.dialogue.knowledge_base import Record, read_csv, read_sqlite
from envs.dialogue.words import (
    ABOUT_A_SLOT,
    AGENT_ACTS,
    PLACEHOLDER,
    RESERVED,
    USER_ACTS,
    Phrases,
    default_phrases,
    is_printable,
    key_of,
    placeholders,
)

MOST_BYTES = 500_000
MOST_DEPTH = 8
MOST_SLOTS = 30
MOST_VALUES = 1_000
MOST_ROWS = 10_000
MOST_LETTERS = 100
"""Of a value or a name; phrases may have three times as many."""

KEYS = ("task", "slots", "rows", "csv", "sqlite", "goals", "change_of_mind", "phrases")
SLOT_KEYS = ("values", "constraint", "question", "column", "synonyms")


def read_domain(path: Path) -> Domain:
    """Return the domain of a file; DomainError if it is wrong."""
    return _Reader(path).domain()


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path

    def domain(self) -> Domain:
        root = _parse(self.path)
        top = self.mapping(root, "a domain", KEYS)
        for key in ("task", "slots"):
            if key not in top:
                raise self.error(root, f"a domain needs {key}")
        task = self.text(top["task"], "task", 3 * MOST_LETTERS)
        slots = self.slots(top["slots"])
        records = self.records(root, top, [slot.name for slot in slots if slot.column])
        slots = self.with_values(top["slots"], slots, records)
        rows = [row for _, row in records]
        goals = self.goals(top["goals"], slots, rows) if "goals" in top else []
        if not goals and not any(slot.column and slot.constraint > 0 for slot in slots):
            raise self.error(top["slots"], "no slot of the knowledge base has a constraint above 0")
        change = self.share(top["change_of_mind"]) if "change_of_mind" in top else 0.0
        phrases = self.phrases(top.get("phrases"), tuple(slot.name for slot in slots))
        synonyms = self.synonyms(top["slots"], slots)
        return build_domain(self.path.stem, task, slots, rows, goals, change, phrases, synonyms)

    # Slots

    def slots(self, node: yaml.Node) -> list[Slot]:
        """Return the slots, without the values that columns of the knowledge base add."""
        slots = []
        for name, entry in self.mapping(node, "slots").items():
            if not (name.isascii() and name.isidentifier() and name == name.lower()):
                raise self.error(
                    entry,
                    f"{name!r} is no name for a slot: use small letters, digits and _, and begin with a"
                    " letter",
                )
            if len(name) > MOST_LETTERS:
                raise self.error(entry, f"the name of a slot has more than {MOST_LETTERS} letters")
            slots.append(self.slot(name, entry))
        if not 0 < len(slots) <= MOST_SLOTS:
            raise self.error(node, f"a domain has 1 to {MOST_SLOTS} slots, not {len(slots)}")
        if not any(slot.column for slot in slots):
            raise self.error(node, "no slot has a column in the knowledge base")
        return slots

    def slot(self, name: str, node: yaml.Node) -> Slot:
        about = f"slot {name}"
        entry = self.mapping(node, about, SLOT_KEYS) if not _empty(node) else {}
        column = self.switch(entry["column"]) if "column" in entry else True
        values: list[str] = []
        if "values" in entry:
            for one in self.sequence(entry["values"], f"values of {about}"):
                value = self.value(one)
                if key_of(value) in map(key_of, values):
                    raise self.error(one, f"{about} has the value {value!r} twice")
                values.append(value)
        if column:
            constraint = self.share(entry["constraint"]) if "constraint" in entry else 0.5
            question = self.share(entry["question"]) if "question" in entry else 0.3
            return Slot(name, tuple(values), constraint, question)
        for key in ("constraint", "question"):
            if key in entry:
                raise self.error(
                    entry[key],
                    f"{about} has no column, so that every goal has a value for it: {key} has no"
                    " meaning",
                )
        if not values:
            raise self.error(node, f"{about} has no column: list its values")
        return Slot(name, tuple(values), constraint=1.0, question=0.0, column=False)

    def with_values(
        self, node: yaml.Node, slots: list[Slot], records: Sequence[Record]
    ) -> list[Slot]:
        """Return the slots with the values of their columns, and spell the rows' values as the slots do."""
        result = []
        for slot in slots:
            numbers = {key_of(value): value for value in slot.values}
            for line, row in records if slot.column else ():
                if slot.name not in row:
                    continue
                value = row[slot.name]
                if problem := _no_value(value):
                    raise DomainError(f"{line}: {problem}")
                if slot.values and key_of(value) not in numbers:
                    raise DomainError(
                        f"{line}: {value!r} is not among the values of slot {slot.name}"
                    )
                row[slot.name] = numbers.setdefault(key_of(value), value)
            if not 0 < len(numbers) <= MOST_VALUES:
                raise self.error(
                    self.mapping(node, "slots")[slot.name],
                    f"slot {slot.name} has {len(numbers)} values; it may have 1 to {MOST_VALUES}",
                )
            result.append(
                Slot(
                    slot.name,
                    tuple(numbers.values()),
                    slot.constraint,
                    slot.question,
                    slot.column,
                )
            )
        return result

    def synonyms(self, node: yaml.Node, slots: list[Slot]) -> dict[str, dict[str, str]]:
        """Return slot → other word for a value → the value."""
        result: dict[str, dict[str, str]] = {}
        for slot in slots:
            entry = self.mapping(node, "slots")[slot.name]
            if _empty(entry) or "synonyms" not in (keys := self.mapping(entry, "a slot")):
                continue
            spelled = {key_of(value): value for value in slot.values}
            others = result.setdefault(slot.name, {})
            for name, given in self.mapping(keys["synonyms"], "synonyms").items():
                if key_of(name) not in spelled:
                    raise self.error(given, f"slot {slot.name} has no value {name!r}")
                for one in self.sequence(given, f"synonyms of {name}"):
                    word = self.value(one)
                    if key_of(word) in spelled or word in others:
                        raise self.error(one, f"{word!r} is a value or a synonym already")
                    others[word] = spelled[key_of(name)]
        return result

    # Knowledge base

    def records(
        self, root: yaml.Node, top: dict[str, yaml.Node], columns: list[str]
    ) -> list[Record]:
        """Return the rows, each with its place in a file."""
        sources = [key for key in ("rows", "csv", "sqlite") if key in top]
        if len(sources) != 1:
            raise self.error(
                top[sources[1]] if sources else root,
                "the knowledge base is one of rows, csv and sqlite"
                + (f", not {' and '.join(sources)}" if sources else ", and none is given"),
            )
        node = top[sources[0]]
        if sources == ["rows"]:
            records = [self.record(one, columns) for one in self.sequence(node, "rows")]
        elif sources == ["csv"]:
            records = read_csv(self.place(node), self.beside(node), columns, MOST_ROWS)
        else:
            entry = self.mapping(node, "sqlite", ("file", "table"))
            for key in ("file", "table"):
                if key not in entry:
                    raise self.error(node, "sqlite needs a file and a table")
            table = self.text(entry["table"], "table", MOST_LETTERS)
            records = read_sqlite(
                self.place(node), self.beside(entry["file"]), table, columns, MOST_ROWS
            )
        if not 0 < len(records) <= MOST_ROWS:
            raise self.error(
                node,
                f"the knowledge base has {'too many' if records else 'no'} rows; it may have 1 to"
                f" {MOST_ROWS:,}",
            )
        return records

    def record(self, node: yaml.Node, columns: list[str]) -> Record:
        row = {}
        for name, value in self.mapping(node, "a row", columns).items():
            if not _empty(value):
                row[name] = self.value(value)
        return self.place(node), row

    def beside(self, node: yaml.Node) -> Path:
        """Return a file that the domain file names. It must lie in the same folder or below."""
        relative = Path(self.text(node, "a file", 3 * MOST_LETTERS))
        if relative.is_absolute() or ".." in relative.parts:
            raise self.error(node, f"{relative} must lie in the domain file's folder or below it")
        path = self.path.parent / relative
        if not path.is_file():
            raise self.error(node, f"there is no file {path}")
        return path

    # Goals

    def goals(
        self, node: yaml.Node, slots: list[Slot], rows: list[dict[str, str]]
    ) -> list[tuple[dict[str, str], list[str]]]:
        by_name = {slot.name: slot for slot in slots}
        known = [slot.name for slot in slots if slot.column]
        goals = []
        for one in self.sequence(node, "goals"):
            entry = self.mapping(one, "a goal", ("constraints", "questions"))
            if "constraints" not in entry:
                raise self.error(one, "a goal needs constraints")
            constraints = {}
            for name, value in self.mapping(entry["constraints"], "constraints", by_name).items():
                slot, wish = by_name[name], self.value(value)
                spelled = {key_of(text): text for text in slot.values}
                if key_of(wish) not in spelled:
                    raise self.error(
                        value, f"no row satisfies this goal: slot {name} has no value {wish!r}"
                    )
                if slot.column and slot.constraint == 0:
                    raise self.error(value, f"a goal constrains slot {name}, whose constraint is 0")
                constraints[name] = spelled[key_of(wish)]
            questions: list[str] = []
            asked = entry.get("questions")
            for question in self.sequence(asked, "questions") if asked else ():
                name = self.text(question, "a question", MOST_LETTERS)
                if name not in known:
                    raise self.error(
                        question,
                        f"{name!r} is nothing that can be asked for: questions are for slots with a"
                        f" column, {', '.join(known)}",
                    )
                if by_name[name].question == 0:
                    raise self.error(question, f"a goal asks for slot {name}, whose question is 0")
                if name in constraints or name in questions:
                    raise self.error(question, f"slot {name} is twice in this goal")
                questions.append(name)
            fixed = {name: value for name, value in constraints.items() if name in known}
            if not fixed:
                raise self.error(one, "a goal constrains at least one slot with a column")
            fitting = [row for row in rows if fixed.items() <= row.items()]
            if not fitting:
                raise self.error(one, "no row of the knowledge base satisfies this goal")
            if not any(row.keys() >= set(questions) for row in fitting):
                raise self.error(
                    one, "no row that satisfies this goal's constraints answers its questions"
                )
            goals.append((constraints, questions))
        return goals

    # Phrases

    def phrases(self, node: yaml.Node | None, slots: tuple[str, ...]) -> Phrases:
        """Return the file's phrases, and the default ones for acts without."""
        phrases = default_phrases(slots)
        if node is None:
            return phrases
        for who, entry in self.mapping(node, "phrases", ("user", "agent")).items():
            acts = USER_ACTS if who == "user" else AGENT_ACTS
            by_act = phrases.user if who == "user" else phrases.agent
            for act, given in self.mapping(entry, f"phrases of the {who}", acts).items():
                if act not in ABOUT_A_SLOT[who]:
                    may = set(slots) if act == "book" else set()
                    by_act[act][""] = self.phrases_for(given, act, may, None)
                    continue
                for slot, own in self.mapping(given, f"phrases of {act}", slots).items():
                    value = None if act == "request" else slot
                    may = set(slots) if (who, act) == ("user", "inform") else {value or ""}
                    texts = self.phrases_for(own, act, may, value)
                    if not any(len(placeholders(text)) <= 1 for text in texts):
                        # All mention other slots too: the defaults tell this slot alone.
                        texts += by_act[act][slot]
                    by_act[act][slot] = texts
        return phrases

    def phrases_for(
        self, node: yaml.Node, act: str, may: set[str], must: str | None
    ) -> tuple[str, ...]:
        """Return the phrases of an act, which may mention some slots and must mention one."""
        alone = isinstance(node, yaml.ScalarNode)
        texts = []
        for one in [node] if alone else self.sequence(node, f"phrases of {act}"):
            text = self.text(one, f"a phrase of {act}", 3 * MOST_LETTERS)
            if "{" in PLACEHOLDER.sub("", text) or "}" in PLACEHOLDER.sub("", text):
                raise self.error(one, f"a placeholder is written {{slot}}, unlike in {text!r}")
            names = placeholders(text)
            for name in names:
                if name not in may:
                    raise self.error(one, f"a phrase of {act} cannot mention {{{name}}} here")
                if names.count(name) > 1:
                    raise self.error(one, f"a phrase mentions {{{name}}} twice")
            if must is not None and must not in names:
                raise self.error(one, f"this phrase must mention {{{must}}}")
            texts.append(text)
        if not texts:
            raise self.error(node, f"there is no phrase of {act} here")
        return tuple(texts)

    # Nodes

    def place(self, node: yaml.Node) -> str:
        return f"{self.path}:{node.start_mark.line + 1}"

    def error(self, node: yaml.Node, problem: str) -> DomainError:
        return DomainError(f"{self.place(node)}: {problem}")

    def mapping(
        self, node: yaml.Node, what: str, keys: Sequence[str] | dict[str, Slot] | None = None
    ) -> dict[str, yaml.Node]:
        """Return a mapping's nodes by key; each key must be unique and among `keys`."""
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, f"{what} must be a mapping of keys to values")
        entries: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self.text(key, f"a key of {what}", 3 * MOST_LETTERS)
            if name in entries:
                raise self.error(key, f"{name!r} is twice in {what}")
            if keys is not None and name not in keys:
                raise self.error(
                    key, f"{name!r} is unknown in {what}, where one writes {', '.join(keys)}"
                )
            entries[name] = value
        return entries

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(node, f"{what} must be a list")
        return node.value

    def text(self, node: yaml.Node, what: str, most: int) -> str:
        """Return a node's text on one line."""
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(node, f"{what} must be a text, not a list or a mapping")
        text = " ".join(node.value.split())
        if not text:
            raise self.error(node, f"{what} is empty")
        if len(text) > most:
            raise self.error(node, f"{what} has {len(text):,} letters, more than {most}")
        if not is_printable(text):
            raise self.error(node, f"{what} has characters that cannot be printed")
        return text

    def value(self, node: yaml.Node) -> str:
        text = self.text(node, "a value", MOST_LETTERS)
        if problem := _no_value(text):
            raise self.error(node, problem)
        return text

    def share(self, node: yaml.Node) -> float:
        text = node.value if isinstance(node, yaml.ScalarNode) else "a list or a mapping"
        try:
            share = float(text)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise self.error(node, f"this must be a number from 0 to 1, not {text[:30]}")
        return share

    def switch(self, node: yaml.Node) -> bool:
        if isinstance(node, yaml.ScalarNode) and node.value in ("true", "false"):
            return node.value == "true"
        raise self.error(node, "this must be true or false")


def _empty(node: yaml.Node) -> bool:
    """Whether there is no value; what is in quotation marks is one, such as the surname "null"."""
    if not isinstance(node, yaml.ScalarNode):
        return False
    return not node.value or (node.style is None and node.value in ("~", "null", "Null", "NULL"))


def _no_value(text: str) -> str:
    """Return why a text cannot be a value; "" if it can."""
    if len(text) > MOST_LETTERS:
        return f"a value has {len(text):,} letters, more than {MOST_LETTERS}"
    if not is_printable(text):
        return "a value has characters that cannot be printed"
    if key_of(text) in RESERVED:
        return f"{text!r} cannot be a value: it stands for no preference, or for no knowledge"
    return ""


class _RefusedError(yaml.YAMLError):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


class _Loader(yaml.SafeLoader):
    """Composes nodes, and refuses aliases, tags and deep nesting before it descends."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        line = event.start_mark.line
        if isinstance(event, yaml.AliasEvent):
            raise _RefusedError(
                line, f"aliases such as *{event.anchor} are not allowed: write it out"
            )
        if event.tag is not None:
            raise _RefusedError(line, f"tags such as {event.tag} are not allowed")
        if self.depth >= MOST_DEPTH:
            raise _RefusedError(line, f"this is nested more than {MOST_DEPTH} deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _parse(path: Path) -> yaml.Node:
    """Return the file's root node."""

    def error(line: int, problem: str) -> DomainError:
        return DomainError(f"{path}:{line + 1}: {problem}")

    if not path.is_file():
        raise DomainError(f"there is no domain file {path}")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as problem:
        raise DomainError(f"{path} cannot be read: {problem.strerror}") from None
    if len(content) > MOST_BYTES:
        raise error(
            0,
            f"a domain file has at most {MOST_BYTES // 1000} kB: keep a larger knowledge base in a"
            " CSV file or an SQLite database",
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = content[: problem.start].count(b"\n")
        raise error(line, "this is not text in UTF-8") from None
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as problem:
        line = text[: problem.position].count("\n")
        raise error(line, "there is a character that YAML does not allow") from None
    except _RefusedError as problem:
        raise error(problem.line, problem.reason) from None
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        raise error(
            mark.line if mark else 0,
            f"this is no YAML: {problem.problem} (a text with , : ? or braces goes in quotes)",
        ) from None
    if root is None:
        raise error(0, "the file is empty")
    return root
