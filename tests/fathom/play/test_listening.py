"""How a person's lines are heard, without the help of a fitted model."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from envs.dialogue.domain import Domain
from envs.dialogue.domains import load_domain
from envs.dialogue.frames import AgentFrame, Frame
from fathom.play.listening import SURE, Listener, speaks_for_itself

FILMS = """
task: rent a film
slots:
  film: {constraint: 0.9, question: 0}
  shop: {constraint: 0.6, question: 0.4}
  days: {column: false, values: [1, 2, 3]}
rows:
  - {film: It, shop: north}
  - {film: Her, shop: east}
  - {film: Yes, shop: south}
  - {film: No, shop: east}
  - {film: "300", shop: east}
  - {film: Ten, shop: east}
  - {film: The Help, shop: north}
  - {film: Help, shop: north}
  - {film: "WALL·E", shop: west}
  - {film: Amélie, shop: west}
  - {film: "Mission: Impossible", shop: west}
  - {film: "What's Up, Doc?", shop: west}
  - {film: "کتاب‌خانه", shop: west}
  - {film: Köln, shop: west}
"""
HYPHENS = """
task: t
slots: {genre: , shop: , price: }
rows:
  - {genre: comedy, shop: a, price: 9}
  - {genre: horror, shop: b, price: 10}
phrases:
  user:
    inform:
      genre: ['a {genre}-film', "{genre}'s fine", '{genre}film']
      price: ['{price}EUR', '${price}', '{price},- euros']
"""


class Deaf:
    """A model that understands nothing, so that the rules are heard alone."""

    vocabulary: tuple[str, ...] = ()

    def understand(self, tokens: Sequence[str]) -> tuple[list[str], str, float]:
        return ["O"] * len(tokens), "unclear", 0.0


def _listener(domain: Domain) -> Listener:
    model: Any = Deaf()
    return Listener(domain, model)


@pytest.fixture(scope="module")
def benchmark() -> Any:
    """The script of `benchmarks` that says how lines are heard."""
    path = Path(__file__).parents[3] / "benchmarks" / "conversation.py"
    spec = importlib.util.spec_from_file_location("conversation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def movie() -> Listener:
    return _listener(load_domain("movie"))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Listener:
    path = tmp_path_factory.mktemp("films") / "films.yaml"
    path.write_text(FILMS)
    return _listener(load_domain(str(path)))


def test_nine_ordinary_lines_of_ten_are_heard_rightly_and_hardly_any_wrongly_with_certainty(
    movie: Listener, benchmark: Any
) -> None:
    rows = benchmark.read(Path(__file__).with_name("lines.tsv"))
    results = [benchmark.outcome(movie, *row)[0] for row in rows]
    assert len(rows) > 200
    assert results.count("right") >= 0.9 * len(rows)
    assert results.count("wrong and sure") <= 0.01 * len(rows)


def test_a_line_of_the_benchmark_is_read(benchmark: Any) -> None:
    agent_frame, expected = benchmark.agent_frame, benchmark.expected
    assert agent_frame("(first line)") is None
    assert agent_frame("confirm city=Boston") == AgentFrame("confirm", "city", "Boston")
    assert expected("(not understood, or asked back)") is None
    asked = Frame("request", "time", {"movie": "Low Tide"})
    assert expected("request time; inform movie=Low Tide") == asked
    assert expected("deny; inform city=Chicago") == Frame("deny", None, {"city": "Chicago"})


@pytest.mark.parametrize(
    ("line", "sure"),
    [("8", True), ("at half past nine", True), ("maybe 8 or so", False), ("8 for Low Tide", False)],
)
def test_only_an_exact_answer_to_the_question_is_certain(
    movie: Listener, line: str, sure: bool
) -> None:
    heard = movie.hear(line, AgentFrame("request", "time"))
    assert heard is None or (heard.confidence >= SURE) == sure


_FILM, _DAYS = AgentFrame("request", "film"), AgentFrame("request", "days")


@pytest.mark.parametrize(
    ("line", "last", "film"),
    [
        ("I want to see it", None, None),
        ("can you help me", None, None),
        ("no idea", None, None),
        ("I need 300 things", None, None),
        ("can you give me the help I need", None, None),
        ("I want to see It", None, "It"),
        ('"Help"', None, "Help"),
        ("The Help", None, "The Help"),
        ("It", _FILM, "It"),
        ("her please", _FILM, "Her"),
        ("help", _FILM, "Help"),
        ("300", _FILM, "300"),
        ("ten", _FILM, "Ten"),
        ("no idea", _FILM, "any"),
        ("wall-e", None, "WALL·E"),
        ("amelie", _FILM, "Amélie"),
        ("mission impossible", None, "Mission: Impossible"),
        ("whats up doc", _FILM, "What's Up, Doc?"),
        ("کتابخانه", _FILM, "کتاب‌خانه"),
        ("کتاب‌خانه", None, "کتاب‌خانه"),
        ("koeln", _FILM, "Köln"),
    ],
)
def test_a_title_of_everyday_words_counts_as_an_answer_quoted_or_with_a_capital(
    films: Listener, line: str, last: AgentFrame | None, film: str | None
) -> None:
    heard = films.hear(line, last)
    assert (None if heard is None else heard.frame.informs.get("film")) == film


def test_yes_and_no_come_before_titles(films: Listener) -> None:
    for title in ("It", "Yes", "No"):
        for line, act in (("yes", "affirm"), ("no", "deny")):
            heard = films.hear(line, AgentFrame("confirm", "film", title))
            assert heard is not None
            assert heard.frame == Frame(act)


def test_a_value_joined_to_its_phrase_is_found(tmp_path: Path) -> None:
    (tmp_path / "hyph.yaml").write_text(HYPHENS)
    listener = _listener(load_domain(str(tmp_path / "hyph.yaml")))
    for line, informs in (
        ("a horror-film", {"genre": "horror"}),
        ("comedy's fine", {"genre": "comedy"}),
        ("a horrorfilm", {"genre": "horror"}),
        ("10EUR", {"price": "10"}),
        ("$9", {"price": "9"}),
        ("9,- euros", {"price": "9"}),
    ):
        heard = listener.hear(line, AgentFrame("request", "price") if line[0] in "19$" else None)
        assert heard is not None, line
        assert heard.frame.informs == informs


def test_values_that_slots_share_go_by_the_words_around_them() -> None:
    heard = _listener(load_domain("taxi")).hear("from the airport to the city hall", None)
    assert heard is not None
    assert heard.frame.informs == {"pickup": "airport", "destination": "city hall"}


def test_a_time_that_has_two_meanings_is_doubtful() -> None:
    taxi = _listener(load_domain("taxi"))
    for line, sure in (("8", False), ("8 pm", True), ("20:00", True)):
        heard = taxi.hear(line, AgentFrame("request", "leave"))
        assert heard is not None
        assert (heard.confidence >= SURE) == sure


def test_only_lines_that_mean_the_same_without_context_are_learnt_from(movie: Listener) -> None:
    confirms, tells = (
        AgentFrame("confirm", "time", "8:00 pm"),
        AgentFrame("inform", "time", "8:00 pm"),
    )
    for line, last, alone in (
        ("yes", confirms, True),
        ("ok", confirms, False),
        ("8 pm", confirms, False),
        ("ok", tells, False),
        ("that's all, thanks", tells, True),
        ("8", AgentFrame("request", "time"), False),
        ("I don't care", AgentFrame("request", "time"), False),
        ("8:00 pm", AgentFrame("request", "time"), True),
    ):
        heard = movie.hear(line, last)
        assert heard is not None
        assert speaks_for_itself(movie.domain, heard) == alone, line
