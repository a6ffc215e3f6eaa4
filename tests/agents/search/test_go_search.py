import time
from collections.abc import Sequence

import numpy as np
import pytest

from agents.search import go_tree, mcts
from agents.search.go_search import GoSearch, GoSearches, SearchConfig
from envs.go import core
from envs.go.board import BLACK, WHITE, Board, Rules

FIVE = Rules(5, komi=0.5)
PASS = 25


def guess(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A network of a kind: any numbers, but always the same for a position. Values are exact in binary."""
    logits, values = [], []
    for position in planes:
        rng = np.random.default_rng(list(position.tobytes()))
        logits.append(rng.normal(size=position[0].size + 1))
        values.append(rng.integers(-16, 17) / 32)
    return np.array(logits, np.float32), np.array(values, np.float32)


def stones_ahead(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Likes stones on the board, and has no idea where to play."""
    ahead = planes[:, 0].sum(axis=(1, 2)).astype(np.float32) - planes[:, 1].sum(axis=(1, 2))
    return np.zeros((len(planes), planes[0, 0].size + 1), np.float32), np.tanh(ahead / 4)


class Game:
    """Go as a model for the general search."""

    discount = -1.0

    def actions(self, state: Board) -> Sequence[int]:
        return np.flatnonzero(state.legal()).tolist()

    def step(self, state: Board, action: int) -> tuple[Board, float]:
        after = state.copy()
        after.play(action)
        if not after.over:
            return after, 0.0
        won = np.sign(after.score())
        return after, float(won if state.to_play == BLACK else -won)

    def evaluate(self, state: Board) -> tuple[np.ndarray, float]:
        logits, values = guess(state.planes()[None])
        legal = state.legal()
        priors = np.exp(logits[0][legal] - logits[0][legal].max())
        return priors / priors.sum(), float(values[0])


def board_of(picture: str, to_play: int = BLACK, rules: Rules = FIVE) -> Board:
    """A position drawn with X for black and O for white."""
    board = Board(rules)
    for action, sign in enumerate("".join(picture.split())):
        if sign != ".":
            board.place(BLACK if sign == "X" else WHITE, action)
    board.to_play = to_play
    return board


SETTLED = """
. X O . O
X X O O .
. X O O O
X X O O O
. X O . O
"""
"""12 points black, 13 white."""

WHITE_IN_ATARI = """
. . . . .
. X X X .
. X O O .
. X X X .
. . . . .
"""


def visits_of(search: GoSearch) -> np.ndarray:
    return search._trees.visits[0, 0]


# -- equal to the general search ----------------------------------------------------------------------


@pytest.mark.parametrize("moves", [[], [12, 7, PASS]])
def test_the_fast_search_looks_where_the_readable_one_looks(moves: list[int]) -> None:
    board = Board(FIVE)
    for action in moves:
        board.play(action)
    config = SearchConfig(batch=1, exploration=1.25, first_play_reduction=0.25)
    search = GoSearch(FIVE, guess, config)
    search.set_board(board)
    search.run(simulations=150)
    root = mcts.puct(Game(), board, 150, exploration=1.25, reduction=0.25)
    expected = np.zeros(26)
    expected[list(root.actions)] = root.visits
    assert visits_of(search).tolist() == expected.tolist()
    assert search.best() == root.most_visited()
    assert search.win_rate == pytest.approx((root.mean + 1) / 2)


def test_gumbel_over_many_games_is_gumbel_in_each() -> None:
    searches = GoSearches(core.new_boards(1, FIVE), FIVE, guess, seed=3)
    result = searches.run(64)
    rng = np.random.default_rng(3)
    root, action, policy = mcts.gumbel(Game(), Board(FIVE), 64, rng)
    assert searches._trees.visits[0, 0].tolist() == root.visits.tolist()
    assert result.actions[0] == action
    np.testing.assert_allclose(result.policies[0], policy, atol=1e-5)
    assert result.values[0] == pytest.approx(root.mean, abs=1e-6)


# -- with a network -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mixing", "low", "high"), [(0.0, 0.0, 0.1), (0.5, 0.4, 0.6), (1.0, 0.9, 1.0)]
)
def test_playouts_know_what_the_network_does_not(mixing: float, low: float, high: float) -> None:
    # Black has taken all; the network thinks that whoever is to move, white wins.
    def blind(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits = np.zeros((len(planes), 26), np.float32)
        black_to_play = planes[:, 17, 0, 0] == 1
        return logits, np.where(black_to_play, -1, 1).astype(np.float32)

    search = GoSearch(FIVE, blind, SearchConfig(mixing=mixing))
    search.set_board(board_of(". X . X . X X X X X " + ". " * 5 + "X X X X X . X . X ."))
    search.run(simulations=64)
    assert low <= search.win_rate <= high


def test_the_same_seed_gives_the_same_playouts() -> None:
    result = []
    for seed in (1, 1, 2):
        search = GoSearch(FIVE, guess, SearchConfig(mixing=0.5), seed)
        search.run(simulations=64)
        result.append(search._trees.totals[0, 0].tolist())
    assert result[0] == result[1] != result[2]


@pytest.mark.parametrize("batch", [1, 8])
def test_every_value_in_the_tree_is_the_sum_of_what_lies_below(batch: int) -> None:
    search = GoSearch(FIVE, guess, SearchConfig(batch=batch))
    search.set_board(board_of(SETTLED))
    search.run(simulations=500)
    trees = search._trees
    assert visits_of(search).sum() >= 500
    for node in range(1, trees.used[0]):
        parent, action = trees.parents[0, node], trees.actions[0, node]
        times = trees.visits[0, parent, action]
        if trees.states[0, node] == go_tree.OVER:
            below, lines = times * trees.values[0, node], times
        else:
            assert trees.states[0, node] == go_tree.OPEN, "no leaf is left waiting"
            below = trees.values[0, node] + trees.totals[0, node].sum()
            lines = 1 + trees.visits[0, node].sum()
        assert times == lines
        assert trees.totals[0, parent, action] == -below


def test_a_batch_asks_about_different_positions() -> None:
    asked: list[bytes] = []

    def watched(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert planes.dtype == np.uint8
        assert planes.shape[1:] == (19, 5, 5)
        asked.append(b"")
        assert len({position.tobytes() for position in planes}) == len(planes) <= 8
        return guess(planes)

    search = GoSearch(FIVE, watched, SearchConfig(batch=8))
    search.run(simulations=400)
    assert len(asked) < 100, "most batches are full"
    assert search.stats.evaluations + search.stats.cache_hits <= 401
    assert search.stats.simulations >= 400


def test_other_orders_of_the_same_moves_need_no_evaluation() -> None:
    search = GoSearch(FIVE, stones_ahead)
    search.run(simulations=1000)
    assert search.stats.cache_hits > 20
    before = search.candidates()
    search.set_board(board_of(WHITE_IN_ATARI))
    search.set_board(Board(FIVE))
    search.run(simulations=1000)
    assert search.stats.evaluations < 60, "nearly all was remembered, though the tree was not"
    assert search.candidates()[:3] == before[:3]


def test_superko_is_not_forgotten_in_a_long_game() -> None:
    rng, board, short = np.random.default_rng(0), Board(Rules(5)), core.new_boards(1, Rules(5))
    forgotten: list[int] = []
    while not forgotten:
        legal = np.flatnonzero(board.legal()[:-1])
        board.play(int(rng.choice(legal)) if len(legal) else 25)
        core.copy_board(short, 0, board.boards, 0)
        forgotten = [
            action
            for action in range(25)
            if core.verdict(short, 0, action) == core.LEGAL and not board.is_legal(action)
        ]
        assert len(board.moves) < 1_000

    def network(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits = np.zeros((len(planes), 26), np.float32)
        logits[:, forgotten] = 20
        return logits, np.zeros(len(planes), np.float32)

    for evaluate in (network, None):
        search = GoSearch(board.rules, evaluate, SearchConfig(memory=16))
        search.set_board(board)
        search.run(simulations=200)
        assert not {candidate.action for candidate in search.candidates()} & set(forgotten)
    boards = core.new_boards(2, board.rules, len(board.moves) + 5)
    searches = GoSearches(boards, board.rules, network)
    searches.set_board(1, board)
    assert not searches.run(16).policies[1, forgotten].any()


def test_a_tree_without_memory_left_ends_the_search() -> None:
    search = GoSearch(FIVE, guess, SearchConfig(memory=1))
    search.run(simulations=100_000)
    room = search._trees.states.shape[1]
    assert search._trees.used[0] == room
    assert search.stats.simulations < 100_000
    assert visits_of(search).sum() == search.stats.simulations, "lines without an end were undone"
    assert search.best() != PASS


def test_a_network_that_fails_leaves_a_search_that_works() -> None:
    answers = [True]

    def failing(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not answers[0]:
            raise KeyboardInterrupt
        return guess(planes)

    search = GoSearch(FIVE, failing)
    search.run(simulations=20)
    answers[0] = False
    with pytest.raises(KeyboardInterrupt):
        search.run(simulations=100)
    answers[0] = True
    search.run(simulations=20)
    assert search.stats.simulations >= 20


# -- either way ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("evaluate", [guess, stones_ahead, None])
class TestEitherWay:
    def test_passes_when_that_wins(self, evaluate) -> None:  # type: ignore[no-untyped-def]
        search = GoSearch(FIVE, evaluate)
        board = board_of(SETTLED, to_play=BLACK)
        board.play(PASS)
        search.set_board(board)
        search.run(simulations=2000)
        assert search.best() == PASS
        assert search.win_rate > 0.8
        assert search.candidates()[0].win_rate == pytest.approx(1.0, abs=0.01)

    def test_does_not_pass_when_that_loses(self, evaluate) -> None:  # type: ignore[no-untyped-def]
        search = GoSearch(FIVE, evaluate)
        board = board_of(WHITE_IN_ATARI, to_play=BLACK)
        board.play(PASS)
        search.set_board(board)
        search.run(simulations=500)
        assert search.best() != PASS

    def test_keeps_what_it_knows_of_the_moves_that_were_played(self, evaluate) -> None:  # type: ignore[no-untyped-def]
        search, board = GoSearch(FIVE, evaluate), Board(FIVE)
        search.run(simulations=2000)
        trees = search._trees
        for _ in range(2):
            action = search.best()
            node = trees.children[0, 0, action]
            known = [x[0, node].copy() for x in (trees.priors, trees.visits, trees.totals)]
            grandchildren = [trees.visits[0, c].sum() for c in trees.children[0, node] if c]
            board.play(action)
            search.set_board(board)
            assert known[1].sum() > 0
            for old, new in zip(known, (trees.priors, trees.visits, trees.totals), strict=True):
                assert old.tolist() == new[0, 0].tolist()
            assert grandchildren == [trees.visits[0, c].sum() for c in trees.children[0, 0] if c]
        for node in range(1, trees.used[0]):
            parent, action = trees.parents[0, node], trees.actions[0, node]
            assert parent < node
            assert trees.children[0, parent, action] == node
        search.run(simulations=10)

    def test_forgets_what_does_not_lead_here(self, evaluate) -> None:  # type: ignore[no-untyped-def]
        search, board = GoSearch(FIVE, evaluate), Board(FIVE)
        board.play(12)
        search.set_board(board)
        search.run(simulations=200)
        search.set_board(Board(FIVE))
        assert visits_of(search).sum() == 0
        search.run(simulations=200)
        search.set_board(board_of(WHITE_IN_ATARI))
        assert visits_of(search).sum() == 0
        search.run(simulations=200)
        out_of_turn = board_of(WHITE_IN_ATARI)
        out_of_turn.play(0, WHITE)
        search.set_board(out_of_turn)
        assert visits_of(search).sum() == 0

    def test_goes_on_where_it_stopped(self, evaluate) -> None:  # type: ignore[no-untyped-def]
        search = GoSearch(FIVE, evaluate)
        search.run(simulations=100)
        search.set_board(Board(FIVE))
        search.run(simulations=100)
        assert visits_of(search).sum() >= 200

    def test_ends_when_told(self, evaluate) -> None:  # type: ignore[no-untyped-def]
        search = GoSearch(FIVE, evaluate)
        began = time.perf_counter()
        search.run(seconds=0.05)
        assert 0.05 <= search.stats.seconds <= time.perf_counter() - began < 5
        before = search.stats.simulations
        search.run(stop=lambda: True)
        assert search.stats.simulations - before <= 64

    def test_has_nothing_to_say_when_the_game_is_over(self, evaluate) -> None:  # type: ignore[no-untyped-def]
        search, board = GoSearch(FIVE, evaluate), board_of(SETTLED)
        board.play(PASS)
        board.play(PASS)
        search.set_board(board)
        search.run(simulations=10)
        assert search.candidates() == []
        assert search.best() == PASS
        assert search.win_rate == 0, "black is to move and has lost"

    def test_equal_seeds_search_alike(self, evaluate) -> None:  # type: ignore[no-untyped-def]
        visits = []
        for seed in (5, 5):
            search = GoSearch(FIVE, evaluate, SearchConfig(), seed)
            search.run(simulations=200)
            visits.append(visits_of(search).tolist())
        assert visits[0] == visits[1]

    def test_names_its_candidates(self, evaluate) -> None:  # type: ignore[no-untyped-def]
        search = GoSearch(FIVE, evaluate)
        search.set_board(board_of(WHITE_IN_ATARI))
        search.run(simulations=1000)
        candidates = search.candidates()
        assert candidates[0].action == search.best()
        visits = [candidate.visits for candidate in candidates]
        assert visits == sorted(visits, reverse=True)
        for candidate in candidates:
            assert 0 <= candidate.win_rate <= 1
            assert candidate.variation[0] == candidate.action
        board = board_of(WHITE_IN_ATARI)
        for action in candidates[0].variation:
            board.play(action)
        assert len(board.moves) > 1


# -- without a network --------------------------------------------------------------------------------


@pytest.mark.parametrize("to_play", [BLACK, WHITE])
def test_finds_the_point_that_decides_life_and_death(to_play: int) -> None:
    rules = Rules(5, komi=-10)  # black, alive with 8 points to 17, would win by one
    three_in_a_row = """
    . . . X O
    X X X X O
    O O O O O
    . O . O .
    O O O O O
    """
    search = GoSearch(rules, None)
    search.set_board(board_of(three_in_a_row, to_play, rules))
    search.run(simulations=1000)
    assert search.best() == 1
    assert search.win_rate > 0.8


def test_search_owns_a_small_board() -> None:
    search = GoSearch(FIVE, None)
    board = Board(FIVE)
    board.play(12)
    search.set_board(board)
    search.run(simulations=5000)
    assert search.win_rate < 0.4, "the first stone in the centre wins on 5×5"
    owned = search.ownership()
    assert owned is not None
    assert owned.shape == (5, 5)
    assert owned.dtype == np.float32
    assert owned[2, 2] > 0.3, "black's"


def test_sides_of_a_settled_board_are_owned() -> None:
    search = GoSearch(FIVE, None)
    search.set_board(board_of(SETTLED))
    search.run(simulations=500)
    owned = search.ownership()
    assert owned is not None
    assert (owned[:, :2] > 0.8).all()
    assert (owned[:, 2:] < -0.8).all()


def test_a_network_says_nothing_of_owners() -> None:
    assert GoSearch(FIVE, guess).ownership() is None


def test_trees_side_by_side_add_up() -> None:
    search = GoSearch(FIVE, None, SearchConfig(threads=2))
    search.run(simulations=1000)
    assert search.stats.simulations >= 1000
    assert sum(candidate.visits for candidate in search.candidates()) == search.stats.simulations
    board = Board(FIVE)
    board.play(search.best())
    search.set_board(board)
    search.run(simulations=100)
    assert (search._trees.visits[:, 0].sum(axis=1) > 50).all()


def test_a_full_tree_of_playouts_counts_on() -> None:
    search = GoSearch(FIVE, None, SearchConfig(memory=1))
    search.run(simulations=20_000)
    assert search._trees.used[0] == search._trees.states.shape[1]
    assert visits_of(search).sum() >= 20_000


# -- many games ---------------------------------------------------------------------------------------


def test_games_are_searched_together() -> None:
    sizes: list[int] = []

    def watched(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(len(planes))
        return guess(planes)

    searches = GoSearches(core.new_boards(12, FIVE), FIVE, watched, SearchConfig(simulations=16))
    for _ in range(3):
        sizes.clear()
        result = searches.run()
        assert len(sizes) == 17
        assert max(sizes) == sizes[0] == 12
        assert result.policies.shape == (12, 26)
        assert result.policies.dtype == np.float32
        np.testing.assert_allclose(result.policies.sum(axis=1), 1, atol=1e-5)
        for g, action in enumerate(result.actions):
            legal = np.zeros(26, bool)
            core.legal_actions(searches.boards, g, legal)
            assert legal[action]
            assert not result.policies[g][~legal].any()
        assert (abs(result.values) <= 1).all()
        for g, action in enumerate(result.actions):
            core.play(searches.boards, g, int(action))
    assert (searches.boards.numbers[:, core.MOVES] == 3).all()
    assert len(set(searches.boards.hashes[:, 0].tolist())) > 1, "noise makes games different"


def test_search_improves_the_policy() -> None:
    searches = GoSearches(
        core.new_boards(8, FIVE),
        FIVE,
        stones_ahead,
        SearchConfig(simulations=48, candidates=26, value_scale=2.0),
    )
    for g in range(8):
        searches.set_board(g, board_of(WHITE_IN_ATARI))
    result = searches.run()
    capture = 2 * 5 + 4
    assert (result.policies.argmax(axis=1) == capture).all()
    assert (result.actions == capture).all()
    assert (result.policies[:, capture] > 0.5).all(), "the network gave it 1 / 24"


def test_games_that_are_over_say_how_they_ended() -> None:
    searches = GoSearches(core.new_boards(2, FIVE), FIVE, guess, SearchConfig(simulations=8))
    board = board_of(SETTLED, to_play=BLACK)
    board.play(PASS)
    board.play(PASS)
    searches.set_board(1, board)
    result = searches.run()
    assert result.values[1] == -1, "black is to move and has lost"
    assert result.actions[1] == PASS
    assert result.policies[1].tolist() == [0.0] * 25 + [1.0]
    core.clear(searches.boards, 1)
    assert searches.run().policies[1].max() < 1


# -- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch", 0), ("threads", 0), ("exploration", -1.0), ("mixing", 2.0),
     ("rave_equivalence", 0.0), ("value_scale", float("nan"))],
)  # fmt: skip
def test_settings_that_make_no_search_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        SearchConfig(**{field: value})  # type: ignore[arg-type]


def test_a_board_under_other_rules_is_refused() -> None:
    with pytest.raises(ValueError, match="search is for"):
        GoSearch(FIVE, guess).set_board(Board(Rules(7)))
    with pytest.raises(ValueError, match="search is for"):
        GoSearches(core.new_boards(1, FIVE), FIVE, guess).set_board(0, Board(Rules(7)))
