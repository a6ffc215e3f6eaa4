"""A domain is a file: what a good one says, and what a bad one gets."""

import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

from envs.dialogue.domain import ASKED, NONE, DomainError
from envs.dialogue.domains import load_domain
from envs.dialogue.phrases import closest_value
from envs.dialogue.words import key_of

SHIPPED = ("movie", "restaurant", "taxi", "hotel")

CAFE = """\
task: order a drink
slots:
  drink: {constraint: 0.9, question: 0.1}
  size:
  price: {constraint: 0, question: 0.5}
  name: {column: false, values: [Ann, Bob]}
rows:
  - {drink: tea, size: small, price: 2}
  - {drink: Tea, size: large, price: 3}
  - {drink: water, size: small, price:}
"""


def cafe(tmp_path: Path, more: str = "") -> str:
    """A domain file's path: the café, with more lines."""
    path = tmp_path / "cafe.yaml"
    path.write_text(CAFE + more, "utf-8")
    return str(path)


def changed(tmp_path: Path, old: str, new: str) -> str:
    assert CAFE.count(old) == 1
    path = tmp_path / "cafe.yaml"
    path.write_text(CAFE.replace(old, new), "utf-8")
    return str(path)


def problem(path: str) -> str:
    """What is said of a bad file: one sentence, without the folder."""
    with pytest.raises(DomainError) as caught:
        load_domain(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 500
    return sentence.replace(str(Path(path).parent) + "/", "")


def test_a_digest_tells_a_file_from_another(tmp_path: Path) -> None:
    one = load_domain(cafe(tmp_path)).digest()
    assert load_domain(cafe(tmp_path, "# a comment changes nothing\n")).digest() == one
    changes = [
        ("0.9", "0.8"),
        ("size: small, price: 2", "size: large, price: 2"),
        ("a drink", "tea"),
    ]
    others = {load_domain(changed(tmp_path, *change)).digest() for change in changes}
    others.add(load_domain(cafe(tmp_path, "phrases: {agent: {book: [Done.]}}\n")).digest())
    assert len(others | {one}) == 5


def test_a_small_file_is_a_domain(tmp_path: Path) -> None:
    domain = load_domain(cafe(tmp_path))
    assert domain.name == "cafe"
    assert domain.task == "order a drink"
    assert [slot.name for slot in domain.slots] == ["drink", "size", "price", "name"]
    # "Tea" is "tea"; a value is the text that stands there, not a number.
    assert [slot.values for slot in domain.slots] == [
        ("tea", "water"), ("small", "large"), ("2", "3"), ("Ann", "Bob"),
    ]  # fmt: skip
    np.testing.assert_array_equal(
        domain.rows, [[0, 0, 0, NONE], [0, 1, 1, NONE], [1, 0, NONE, NONE]]
    )
    assert domain.rows.dtype == np.int16
    np.testing.assert_array_equal(domain.matches[0, :, 0], [0b011, 0b100])
    np.testing.assert_array_equal(domain.matches[1, :, 0], [0b101, 0b010])
    np.testing.assert_array_equal(domain.matches[3, :, 0], [0, 0])
    assert domain.matches.dtype == np.uint64
    np.testing.assert_array_equal(domain.constraint_chance, [0.9, 0.5, 0, 1])
    np.testing.assert_array_equal(domain.question_chance, [0.1, 0.3, 0.5, 0])
    np.testing.assert_array_equal(domain.column, [True, True, True, False])
    assert domain.goals.shape == (0, 4)
    assert domain.row(2) == {"drink": "water", "size": "small"}
    assert domain.index("price") == 2


def test_values_keep_their_spelling(tmp_path: Path) -> None:
    path = changed(tmp_path, "price: 3}", "price: 7:30}")
    assert load_domain(path).slots[2].values == ("2", "7:30")
    path = changed(tmp_path, "{drink: water,", "{drink: yes,")
    assert load_domain(path).slots[0].values == ("tea", "yes")


def test_goals_can_be_listed(tmp_path: Path) -> None:
    goals = "goals:\n  - {constraints: {drink: TEA, size: large, name: bob}, questions: [price]}\n"
    domain = load_domain(cafe(tmp_path, goals))
    np.testing.assert_array_equal(domain.goals, [[0, 1, ASKED, 1]])


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_domain_is_rich_enough_to_be_a_task(name: str) -> None:
    domain = load_domain(name)
    assert 6 <= len(domain.slots) <= 10
    assert len(domain.rows) >= 150
    assert 3 <= domain.constraint_chance.sum() <= 6
    asked = (1 - domain.constraint_chance) * domain.question_chance
    assert 1 <= asked.sum() <= 3
    assert not domain.column.all()
    for slot in domain.slots:
        assert len({key_of(value) for value in slot.values}) == len(slot.values)


@pytest.mark.parametrize("name", SHIPPED)
def test_bit_sets_say_which_rows_have_a_value(name: str) -> None:
    domain = load_domain(name)
    slots, most, words = domain.matches.shape
    assert words == -(-len(domain.rows) // 64)
    assert most == max(len(slot.values) for slot in domain.slots)
    bits = np.unpackbits(domain.matches.view(np.uint8), axis=2, bitorder="little")
    bits = bits.reshape(slots, most, -1)[:, :, : len(domain.rows)]
    expected = domain.rows.T[:, None, :] == np.arange(most)[None, :, None]
    np.testing.assert_array_equal(bits.astype(bool), expected)


# Knowledge bases in files of their own


def csv_cafe(tmp_path: Path, csv: str | bytes, source: str = "csv: menu.csv") -> str:
    head = CAFE[: CAFE.index("rows:")]
    (tmp_path / "menu.csv").write_bytes(csv if isinstance(csv, bytes) else csv.encode())
    path = tmp_path / "cafe.yaml"
    path.write_text(head + source + "\n")
    return str(path)


def test_rows_can_come_from_csv(tmp_path: Path) -> None:
    path = csv_cafe(
        tmp_path,
        '\ufeffprice,drink,milk,size\r\n2,"tea, green",\x1b,small\r\n\r\n,water,,large\r\n',
    )
    domain = load_domain(path)
    assert domain.row(0) == {"drink": "tea, green", "size": "small", "price": "2"}
    assert domain.row(1) == {"drink": "water", "size": "large"}


@pytest.mark.parametrize(
    ("csv", "said"),
    [
        ("", "cafe.yaml:7: slot drink has no column in menu.csv, which has none"),
        (
            "drink,size\n",
            "cafe.yaml:7: slot price has no column in menu.csv, which has drink, size",
        ),
        ("drink,size,price,size\n", "menu.csv:1: column 'size' is there twice"),
        ("drink,size,price\n", "cafe.yaml:7: the knowledge base has no rows"),
        ("drink,size,price\ntea,small\n", "menu.csv:2: this row has 2 cells, the first line 3"),
        ("drink,size,price\n\ntea,small,any\n", "menu.csv:3: 'any' cannot be a value"),
        ('drink,size,price\ntea,"small,2\n', "menu.csv:2: this is no CSV"),
        ("drink,size,price\ntea,small," + "9" * 200, "menu.csv:2: a value has 200 letters"),
        ("drink,size,price\ntea,small,\x1b[2J", "menu.csv:2: a value has characters that cannot"),
        (b"drink,size,price\ntea,small,\xff", "menu.csv:2: this is not text in UTF-8"),
        ("drink,size,price\n" + "tea,small,2\n" * 10_001, "has too many rows"),
        ("drink,size,price\n,small,2\n", "cafe.yaml:3: slot drink has 0 values"),
    ],
)
def test_a_bad_csv_file_is_named_with_its_line(tmp_path: Path, csv: str | bytes, said: str) -> None:
    assert said in problem(csv_cafe(tmp_path, csv))


def test_a_knowledge_base_lies_beside_its_domain(tmp_path: Path) -> None:
    for file in ("/etc/passwd", "../menu.csv", "below/../../menu.csv"):
        path = csv_cafe(tmp_path, "", f"csv: {file}")
        assert "cafe.yaml:7: " + file in problem(path)
    path = csv_cafe(tmp_path, "", "csv: card.csv")
    assert problem(path) == "cafe.yaml:7: there is no file card.csv"
    path = csv_cafe(tmp_path, "", "csv: .")
    assert "there is no file" in problem(path)


def sqlite_cafe(tmp_path: Path, table: str = "menu", file: str = "cafe.db") -> str:
    return csv_cafe(tmp_path, "", f"sqlite: {{file: {file}, table: '{table}'}}")


def test_rows_can_come_from_sqlite(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "cafe.db") as connection:
        connection.execute("CREATE TABLE menu (id INTEGER, price REAL, size TEXT, drink TEXT)")
        connection.executemany(
            "INSERT INTO menu VALUES (?, ?, ?, ?)",
            [(1, 2.5, "small", "tea"), (2, None, "large", "water")],
        )
        connection.execute("CREATE VIEW cheap AS SELECT * FROM menu WHERE price < 3")
    connection.close()
    before = (tmp_path / "cafe.db").read_bytes()
    assert len(load_domain(sqlite_cafe(tmp_path, "cheap")).rows) == 1
    domain = load_domain(sqlite_cafe(tmp_path))
    assert domain.row(0) == {"drink": "tea", "size": "small", "price": "2.5"}
    assert domain.row(1) == {"drink": "water", "size": "large"}
    assert (tmp_path / "cafe.db").read_bytes() == before


def test_a_bad_database_is_named_with_the_line_that_names_it(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "cafe.db") as connection:
        connection.execute("CREATE TABLE menu (drink TEXT, size TEXT)")
        connection.execute('CREATE TABLE [odd"; DROP TABLE menu; --] (drink, size, price)')
        connection.execute(
            "INSERT INTO [odd\"; DROP TABLE menu; --] VALUES ('tea', 'small', x'00')"
        )
        connection.execute(
            "CREATE VIEW ever AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
            " SELECT i AS drink, i AS size, i AS price FROM n WHERE i < 0"
        )
    connection.close()
    message = problem(sqlite_cafe(tmp_path))
    assert message == ("cafe.yaml:7: slot price has no column in cafe.db, which has drink, size")
    assert "cafe.db has no table 'card'; it has menu" in problem(sqlite_cafe(tmp_path, "card"))
    assert "'ever' takes too long to read" in problem(sqlite_cafe(tmp_path, "ever"))
    # A name is a name: it is quoted, not run.
    odd = 'odd"; DROP TABLE menu; --'
    assert "row 1: price is bytes" in problem(sqlite_cafe(tmp_path, odd))
    assert "slot price has no column" in problem(sqlite_cafe(tmp_path))
    (tmp_path / "cafe.db").write_bytes(b"not a database, however long it is" * 100)
    assert "cafe.yaml:7: cafe.db cannot be read as SQLite" in problem(sqlite_cafe(tmp_path))
    assert "there is no file other.db" in problem(sqlite_cafe(tmp_path, file="other.db"))
    assert not (tmp_path / "other.db").exists()


# Bad files


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("task: order a drink\n", "", "cafe.yaml:1: a domain needs task"),
        ("task: order a drink", "task:", "cafe.yaml:1: task is empty"),
        ("task: order a drink", "task: [drink]", "cafe.yaml:1: task must be a text"),
        ("task:", "tusk:", "cafe.yaml:1: 'tusk' is unknown in a domain, where one writes task, slots"),
        ("  size:\n", "", "cafe.yaml:7: 'size' is unknown in a row, where one writes drink, price"),
        ("  size:\n", "  drink:\n", "cafe.yaml:4: 'drink' is twice in slots"),
        ("  size:\n", "  Size!:\n", "cafe.yaml:4: 'Size!' is no name for a slot"),
        ("  size:\n", "  größe:\n", "cafe.yaml:4: 'größe' is no name for a slot"),
        ("  size:\n", "  size: big\n", "cafe.yaml:4: slot size must be a mapping"),
        ("  size:\n", "  size: {value: [a]}\n", "cafe.yaml:4: 'value' is unknown in slot size"),
        ("  size:\n", "  size: {values: small}\n", "cafe.yaml:4: values of slot size must be a list"),
        ("  size:\n", "  size: {values: [small]}\n", "cafe.yaml:9: 'large' is not among the values"),
        ("  size:\n", "  size: {values: [a, A]}\n", "cafe.yaml:4: slot size has the value 'A' twice"),
        ("  size:\n", "  size: {values: [[a]]}\n", "cafe.yaml:4: a value must be a text"),
        ("  size:\n", "  cup:\n    constraint: 2\n", "cafe.yaml:5: this must be a number from 0 to 1"),
        ("constraint: 0.9", "constraint: often", "cafe.yaml:3: this must be a number from 0 to 1, not o"),
        ("constraint: 0.9", "constraint: nan", "cafe.yaml:3: this must be a number from 0 to 1"),
        ("constraint: 0.9", "constraint: [1]", "cafe.yaml:3: this must be a number from 0 to 1"),
        ("column: false", "column: no", "cafe.yaml:6: this must be true or false"),
        (", values: [Ann, Bob]", "", "cafe.yaml:6: slot name has no column: list its values"),
        ("column: false,", "column: false, question: 1,", "cafe.yaml:6: slot name has no column, so"),
        ("rows:", "csv: menu.csv\nrows:", "cafe.yaml:7: the knowledge base is one of rows, csv and"),
        ("rows:", "change_of_mind:", "cafe.yaml:1: the knowledge base is one of rows, csv and sqlite"),
        ("drink: water", "drink: whatever", "cafe.yaml:10: 'whatever' cannot be a value"),
        ("drink: water", "drink: [water]", "cafe.yaml:10: a value must be a text"),
        ("drink: water", "milk: water", "cafe.yaml:10: 'milk' is unknown in a row"),
        ("drink: water", "drink: water, drink: tea", "cafe.yaml:10: 'drink' is twice in a row"),
        ("  - {drink: water", "  - drink\n  - {drink: water", "cafe.yaml:10: a row must be a mapping"),
        ("price:}", 'price: "\\x07"}', "cafe.yaml:10: a value has characters that cannot be printed"),
        ("price:}", "price: " + "9" * 101 + "}", "cafe.yaml:10: a value has 101 letters"),
        ("{constraint: 0, question: 0.5}", "{column: true", "cafe.yaml:6: this is no YAML"),
        ("rows:\n", "rows: []\ngoals:\n", "cafe.yaml:7: the knowledge base has no rows"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_in_one_sentence(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert problem(changed(tmp_path, old, new)).startswith(said)


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ("{constraints: {drink: water, size: large}}", "no row of the knowledge base satisfies"),
        (
            "{constraints: {drink: beer}}",
            "no row satisfies this goal: slot drink has no value 'beer'",
        ),
        ("{constraints: {drink: water}, questions: [price]}", "no row that satisfies this goal's"),
        ("{constraints: {drink: tea}, questions: [drink]}", "slot drink is twice in this goal"),
        (
            "{constraints: {drink: tea}, questions: [name]}",
            "'name' is nothing that can be asked for",
        ),
        (
            "{constraints: {drink: tea}, questions: [milk]}",
            "'milk' is nothing that can be asked for",
        ),
        ("{constraints: {drink: tea}, questions: price}", "questions must be a list"),
        ("{constraints: {price: 2}}", "a goal constrains slot price, whose constraint is 0"),
        ("{constraints: {milk: soy}}", "'milk' is unknown in constraints"),
        ("{constraints: {name: Ann}}", "a goal constrains at least one slot with a column"),
        ("{questions: [price]}", "a goal needs constraints"),
        ("tea", "a goal must be a mapping"),
    ],
)
def test_a_goal_that_cannot_be_reached_is_told(tmp_path: Path, goal: str, said: str) -> None:
    assert problem(cafe(tmp_path, f"goals:\n  - {goal}\n")).startswith(f"cafe.yaml:12: {said}")


@pytest.mark.parametrize(
    ("phrases", "said"),
    [
        (
            "user: {greet: [hi]}",
            "'greet' is unknown in phrases of the user, where one writes inform",
        ),
        ("agent: {sing: [la]}", "'sing' is unknown in phrases of the agent"),
        ("robot: {}", "'robot' is unknown in phrases, where one writes user, agent"),
        ("user: {inform: {milk: [a]}}", "'milk' is unknown in phrases of inform"),
        ("user: {inform: {size: [big]}}", "this phrase must mention {size}"),
        (
            "user: {inform: {size: ['{size} {cup}']}}",
            "a phrase of inform cannot mention {cup} here",
        ),
        ("user: {inform: {size: ['{size} {size}']}}", "a phrase mentions {size} twice"),
        ("user: {inform: {size: ['{size']}}", "a placeholder is written {slot}, unlike in '{size'"),
        ("user: {inform: {size: ['{{size}}']}}", "a placeholder is written {slot}"),
        (
            "user: {inform: {size: ['{size.__class__} {size}']}}",
            "a phrase of inform cannot mention",
        ),
        (
            "user: {request: {price: ['why {price}?']}}",
            "a phrase of request cannot mention {price}",
        ),
        (
            "agent: {confirm: {size: ['{size} {drink}']}}",
            "a phrase of confirm cannot mention {drink}",
        ),
        ("agent: {book: ['{cup}']}", "a phrase of book cannot mention {cup} here"),
        ("user: {affirm: []}", "there is no phrase of affirm here"),
        ("user: {affirm: {yes: no}}", "phrases of affirm must be a list"),
        ("user: {inform: [a]}", "phrases of inform must be a mapping"),
    ],
)
def test_a_bad_phrase_is_told(tmp_path: Path, phrases: str, said: str) -> None:
    assert problem(cafe(tmp_path, f"phrases:\n  {phrases}\n")).startswith(f"cafe.yaml:12: {said}")


def test_phrases_of_the_file_stand_before_the_defaults(tmp_path: Path) -> None:
    lines = """\
phrases:
  user:
    inform:
      size: ["a {size} {drink}"]
      drink: ["{drink} please"]
    affirm: okay
"""
    message = load_domain(cafe(tmp_path, lines)).phrases.user
    assert message["inform"]["drink"] == ("{drink} please",)
    assert message["affirm"][""] == ("okay",)
    # That phrase needs a drink; of a size alone the defaults speak.
    assert message["inform"]["size"][0] == "a {size} {drink}"
    assert len(message["inform"]["size"]) > 1
    assert message["request"]["price"]


# Hostile files


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, ":2: aliases such as *a are not allowed"),
        ("&a [*a]", ":1: aliases such as *a are not allowed"),
        ("task: !!python/object/apply:os.system ['touch pwned']", ":1: tags such as tag:yaml.org,2002:p"),
        ("task: x\nslots: !!python/name:os.system", ":2: tags such as"),
        ("task: !own x", ":1: tags such as !own are not allowed"),
        ("task: !!binary aGk=", ":1: tags such as"),
        ("[" * 100_000, ":1: this is nested more than 8 deep"),
        ("{a: " * 50_000, ":1: this is nested more than 8 deep"),
        ("- " * 50_000, ":1: this is nested more than 8 deep"),
        ("x" * 600_000, ":1: a domain file has at most 500 kB"),
        ("a: 1\n---\nb: 2", ":2: this is no YAML"),
        ("a: b: c", ":1: this is no YAML"),
        ("a: 1\n\tb: 2", ":2: this is no YAML"),
        ('task: "never closed\n\n', ":3: this is no YAML"),
        ("a: 1\nb: \x00", ":2: there is a character that YAML does not allow"),
        ("? {a: b}\n: c", ":1: a key of a domain must be a text"),
        ("<<: {task: x}", ":1: '<<' is unknown in a domain"),
        ("", ":1: the file is empty"),
        ("# nothing\n", ":1: the file is empty"),
        ("tea", ":1: a domain must be a mapping"),
        ("- tea", ":1: a domain must be a mapping"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_quickly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.yaml"
    path.write_text(text, "utf-8")
    started = time.process_time()
    assert problem(str(path)).startswith("bad.yaml" + said)
    assert time.process_time() - started < 2
    assert [file.name for file in tmp_path.iterdir()] == ["bad.yaml"]


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("task: x\nslots: größe".encode("latin-1"))
    assert problem(str(path)) == "latin.yaml:2: this is not text in UTF-8"
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    assert "there is no domain file" in problem(str(folder))
    assert "there is no domain file" in problem(str(tmp_path / "none.yaml"))
    with pytest.raises(
        DomainError, match="is no domain: give one of hotel, movie, restaurant, taxi"
    ):
        load_domain("cinema")
    with pytest.raises(DomainError, match="is no domain"):
        load_domain("/dev/zero")


def test_thirty_slots_are_the_most(tmp_path: Path) -> None:
    def text(count: int) -> str:
        slots = "".join(f"  s{number}:\n" for number in range(count))
        row = ", ".join(f"s{number}: {number}" for number in range(count))
        return f"task: x\nslots:\n{slots}rows:\n  - {{{row}}}\n"

    path = tmp_path / "large.yaml"
    path.write_text(text(30))
    assert len(load_domain(str(path)).slots) == 30
    path.write_text(text(31))
    assert problem(str(path)) == "large.yaml:3: a domain has 1 to 30 slots, not 31"


# The real movie data, in the shape in which it is published


def movie_folder(tmp_path: Path, rows: str | None = None, goals: str | None = None) -> str:
    if rows is None:
        rows = (
            "0L: {'city': 'Salem', 'moviename': 'up', 'starttime': '7pm#9 pm', 'zip': '1'},"
            " 1L: {'city': 'salem ', 'moviename': 'Up', 'starttime': '', 'theater': 'any'}}"
        )
    if goals is None:
        goals = (
            "{'request_slots': {'starttime': 'UNK'}, 'diaact': 'request', 'inform_slots':"
            " {'moviename': 'up', 'numberofpeople': '2'}}\n"
            "{'request_slots': {}, 'diaact': 'request', 'inform_slots':"
            " {'moviename': 'down', 'city': 'salem', 'numberofpeople': 'two'}}\n"
        )
    (tmp_path / "movie_db.txt").write_text(rows)
    (tmp_path / "movie_user_goals.txt").write_text(goals)
    return f"movie-real:{tmp_path}"


def test_the_papers_movie_data_is_a_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = load_domain(movie_folder(tmp_path))
    assert {slot.name: slot.values for slot in domain.slots} == {
        "city": ("Salem",), "moviename": ("up",), "numberofpeople": ("2",), "starttime": ("7pm", "9 pm"),
    }  # fmt: skip
    assert [slot.column for slot in domain.slots] == [True, True, False, True]
    # A cell with two times is two rows; the last row knows no time.
    np.testing.assert_array_equal(domain.rows, [[0, 0, -1, 0], [0, 0, -1, 1], [0, 0, -1, -1]])
    # Nothing satisfies the second goal.
    np.testing.assert_array_equal(domain.goals, [[NONE, 0, 0, ASKED]])
    home = tmp_path / "data" / "movie-dialogue"
    home.mkdir(parents=True)
    movie_folder(home)
    monkeypatch.setenv("FATHOM_DATA", str(tmp_path / "data"))
    np.testing.assert_array_equal(load_domain("movie-real").rows, domain.rows)


@pytest.mark.parametrize(
    ("rows", "goals", "said"),
    [
        ("0L: {'a': __import__('os')}}", None, "movie_db.txt:1: this is no Python literal"),
        ("[" * 10_000, None, "movie_db.txt:1: this is no Python literal"),
        ("{1L: {'city': 7}}", None, "movie_db.txt:1: this is not a dictionary of rows"),
        ("{}", None, "has no rows or no goals"),
        (
            "{1L: {'city': '" + "a#b" * 200 + "', 'moviename': '" + "c#d" * 200 + "'}}",
            "{'request_slots': {}, 'inform_slots': {'city': 'a', 'moviename': 'd'}}",
            "movie-real has more than 10,000 rows",
        ),
        (None, "\n{'inform_slots': {}}", "movie_user_goals.txt:2: a goal is a dictionary with"),
        (None, "open('x')", "movie_user_goals.txt:1: this is no Python literal"),
    ],
)
def test_bad_movie_data_is_told(
    tmp_path: Path, rows: str | None, goals: str | None, said: str
) -> None:
    with pytest.raises(DomainError) as caught:
        load_domain(movie_folder(tmp_path, rows, goals))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_movie_data_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FATHOM_DATA", raising=False)
    with pytest.raises(DomainError, match="there is no FATHOM_DATA: say movie-real:FOLDER"):
        load_domain("movie-real")
    with pytest.raises(DomainError, match="there is no folder"):
        load_domain(f"movie-real:{tmp_path}/none")
    with pytest.raises(DomainError, match=r"movie_db\.txt is missing"):
        load_domain(f"movie-real:{tmp_path}")


# The guide


def test_the_domain_that_the_guide_writes_is_one(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "dialogue.md").read_text("utf-8")
    text = guide.split("```yaml\n# tools.yaml\n")[1].split("```")[0]
    path = tmp_path / "tools.yaml"
    path.write_text(text, "utf-8")
    domain = load_domain(str(path))
    assert domain.rows.shape == (6, 5)
    assert domain.phrases.user["affirm"][""] == ("yes", "exactly")


def test_what_is_in_quotation_marks_is_a_value(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text(
        "task: t\nslots: {surname: , town: }\nrows:\n"
        '  - {surname: "null", town: b}\n  - {surname: "~", town: b}\n  - {surname: NULL, town: b}\n'
    )
    domain = load_domain(str(path))
    assert domain.slots[0].values == ("null", "~")
    assert domain.row(2) == {"town": "b"}


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_cells_may_be_between_other_signs(tmp_path: Path, sign: str) -> None:
    rows = [("drink", "size", "price"), ("tea, green", "small", "2")]
    domain = load_domain(csv_cafe(tmp_path, "\n".join(sign.join(row) for row in rows)))
    assert domain.row(0) == {"drink": "tea, green", "size": "small", "price": "2"}


def test_words_with_joiners_are_values(tmp_path: Path) -> None:
    path = tmp_path / "books.yaml"
    path.write_text('task: t\nslots: {book: }\nrows:\n  - {book: "کتاب‌خانه"}\n', encoding="utf-8")
    domain = load_domain(str(path))
    assert closest_value(domain, 0, "کتابخانه") == "کتاب‌خانه"


def test_a_synonym_is_understood_and_changes_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "films.yaml"
    text = "task: t\nslots:\n  genre: {}\nrows:\n  - {genre: horror}\n  - {genre: comedy}\n"
    path.write_text(text)
    plain = load_domain(str(path))
    path.write_text(text.replace("{}", "{synonyms: {horror: [scary, creepy]}}", 1))
    domain = load_domain(str(path))
    assert closest_value(domain, 0, "Scary") == "horror"
    assert domain.digest() == plain.digest()
    for wrong, said in (
        ("{synonyms: {drama: [sad]}}", "slot genre has no value 'drama'"),
        ("{synonyms: {horror: [comedy]}}", "'comedy' is a value or a synonym already"),
    ):
        path.write_text(text.replace("{}", wrong, 1))
        with pytest.raises(DomainError, match=said):
            load_domain(str(path))
