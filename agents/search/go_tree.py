"""The tree of a search for Go, compiled: rows of flat arrays, grown in place (used by `agents.search.go_search`).

A tree is named by `(trees, g)`. Node 0 is its root, and a node's row has a place for every action. What
an action leads to is a node of its own as soon as it was taken once (with a network), or often enough to
be worth it (with playouts). A child stands behind its parent always, so a subtree can be moved to the
front in one pass.

Values are −1…1 for the player to move at the node. An action under way counts as lost until its value
comes back (virtual loss), which sends the lines of one batch different ways.
"""

from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

from agents.search.mcts import (
    completed_q,
    first_play_value,
    halving_choice,
    improve,
    puct_score,
    rave_share,
    select_interior,
)
from envs.go.core import (
    BLACK,
    LAST,
    PASSES,
    TO_PLAY,
    WHITE,
    Boards,
    area,
    compiled,
    copy_board,
    owners,
    play,
    point_of,
)
from envs.go.observation import observe
from envs.go.playouts import FIRST, expect, playout
from envs.kernels import forget_old_kernels

forget_old_kernels(Path(__file__).parent)

NEW, PENDING, OPEN, OVER = range(4)
"""`Trees.states`: not evaluated; handed out for it; evaluated; the game has ended here."""
FULL = -1
"""Instead of a node: the tree has no room for it."""

EXPECTED_GAMES = 12.0
"""How many playouts the first impression of a move counts as, where there is no network."""
OPEN_AFTER = 2
"""Visits after which an action gets a node of its own, where there is no network."""


class Trees(NamedTuple):
    """Trees of n searches; A actions."""

    priors: np.ndarray
    """(n, nodes, A) float32: of the network, adding up to 1; without one, chances to win at first sight.
    0 where an action is illegal, or not worth a look."""
    visits: np.ndarray
    """(n, nodes, A) int32"""
    totals: np.ndarray
    """(n, nodes, A) float32: sums of values for the player to move."""
    children: np.ndarray
    """(n, nodes, A) int32: 0 for none."""
    rave_visits: np.ndarray
    """(n, nodes, A) float32: "all moves as first"; without places where there is a network."""
    rave_totals: np.ndarray
    """(n, nodes, A) float32"""
    values: np.ndarray
    """(n, nodes) float32: the network's, or how the game ended."""
    states: np.ndarray
    """(n, nodes) int8"""
    parents: np.ndarray
    """(n, nodes) int32"""
    actions: np.ndarray
    """(n, nodes) int16: what led from the parent here."""
    used: np.ndarray
    """(n,) int32: nodes in use."""
    scratch: np.ndarray
    """(n, 2, A) float64: no state."""


def node_bytes(size: int, rave: bool) -> int:
    """Memory of one node."""
    return (size * size + 1) * (24 if rave else 16) + 11


def new_trees(n: int, nodes: int, size: int, rave: bool = False) -> Trees:
    """n empty trees, each with room for a number of nodes; memory is taken as it is used."""
    shape, actions = (n, nodes), size * size + 1
    played = actions if rave else 0
    return Trees(
        np.zeros((*shape, actions), np.float32),
        np.zeros((*shape, actions), np.int32),
        np.zeros((*shape, actions), np.float32),
        np.zeros((*shape, actions), np.int32),
        np.zeros((*shape, played), np.float32),
        np.zeros((*shape, played), np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.int8),
        np.zeros(shape, np.int32),
        np.zeros(shape, np.int16),
        np.zeros(n, np.int32),
        np.zeros((n, 2, actions), np.float64),
    )


# -- growing ----------------------------------------------------------------------------------------


@compiled
def reset(trees: Trees, g: int) -> None:
    """Starts a tree anew, with nothing but a root."""
    trees.used[g] = 0
    _new_node(trees, g, 0, 0)


@compiled
def _new_node(trees: Trees, g: int, parent: int, action: int) -> int:
    """Takes the next row, or says that the tree is full."""
    node = trees.used[g]
    if node == trees.states.shape[1]:
        return FULL
    trees.used[g] = node + 1
    for a in range(trees.visits.shape[2]):
        trees.visits[g, node, a] = 0
        trees.totals[g, node, a] = 0
        trees.children[g, node, a] = 0
    for a in range(trees.rave_visits.shape[2]):
        trees.rave_visits[g, node, a] = 0
        trees.rave_totals[g, node, a] = 0
    trees.states[g, node] = NEW
    trees.parents[g, node] = parent
    trees.actions[g, node] = action
    return node


@compiled
def keep_subtree(trees: Trees, g: int, root: int, renamed: np.ndarray) -> None:
    """Makes a node the root, and forgets all that is not below it.

    Args:
        renamed: (nodes,) int32, overwritten.
    """
    kept = 0
    for node in range(root, trees.used[g]):
        parent = renamed[trees.parents[g, node]] if node != root else 0
        if node != root and (trees.parents[g, node] < root or parent < 0):
            renamed[node] = -1
            continue
        renamed[node] = kept
        for a in range(trees.visits.shape[2]):
            trees.priors[g, kept, a] = trees.priors[g, node, a]
            trees.visits[g, kept, a] = trees.visits[g, node, a]
            trees.totals[g, kept, a] = trees.totals[g, node, a]
            # Children that are kept write themselves down when their turn comes.
            trees.children[g, kept, a] = 0
        for a in range(trees.rave_visits.shape[2]):
            trees.rave_visits[g, kept, a] = trees.rave_visits[g, node, a]
            trees.rave_totals[g, kept, a] = trees.rave_totals[g, node, a]
        trees.values[g, kept] = trees.values[g, node]
        trees.states[g, kept] = trees.states[g, node]
        trees.actions[g, kept] = trees.actions[g, node]
        trees.parents[g, kept] = parent
        if node != root:
            trees.children[g, parent, trees.actions[g, kept]] = kept
        kept += 1
    trees.used[g] = kept


@compiled
def expand(
    trees: Trees, g: int, node: int, logits: np.ndarray, legal: np.ndarray, value: float
) -> None:
    """Opens a node with what a network says of it; (A,) each."""
    priors, highest = trees.priors[g, node], -np.inf
    for a in range(len(legal)):
        if legal[a]:
            highest = max(highest, logits[a])
    total = 0.0
    for a in range(len(legal)):
        # A legal action keeps a prior above 0, which is the sign of the others.
        priors[a] = max(np.exp(logits[a] - highest), 1e-9) if legal[a] else 0.0
        total += priors[a]
    for a in range(len(legal)):
        priors[a] /= total
    trees.values[g, node] = value
    trees.states[g, node] = OPEN


@compiled
def _follow(
    trees: Trees, g: int, boards: Boards, i: int, node: int, action: int, komi: float
) -> int:
    """Plays an action on the board and counts it as lost for now; gives the node it leads to."""
    child = trees.children[g, node, action]
    if child == 0:
        child = _new_node(trees, g, node, action)
        if child == FULL:
            undo_virtual_loss(trees, g, node)
            return FULL
        trees.children[g, node, action] = child
    trees.visits[g, node, action] += 1
    trees.totals[g, node, action] -= 1
    play(boards, i, action)
    if boards.numbers[i, PASSES] >= 2 and trees.states[g, child] == NEW:
        trees.states[g, child] = OVER
        trees.values[g, child] = outcome(boards, i, komi)
    return child


@compiled
def outcome(boards: Boards, i: int, komi: float) -> float:
    """How the game stands if it ends here, for the player to move: 1 won, −1 lost, 0 drawn."""
    value = np.sign(area(boards, i) - komi)
    return value if boards.numbers[i, TO_PLAY] == BLACK else -value


@compiled
def back_up(trees: Trees, g: int, node: int, value: float) -> None:
    """Tells the way back to the root what a line was worth for the player to move at its end."""
    while node != 0:
        value = -value
        parent, action = trees.parents[g, node], trees.actions[g, node]
        trees.totals[g, parent, action] += value + 1
        node = parent


@compiled
def undo_virtual_loss(trees: Trees, g: int, node: int) -> None:
    """Makes a line undone that was not followed to its end."""
    while node != 0:
        parent, action = trees.parents[g, node], trees.actions[g, node]
        trees.visits[g, parent, action] -= 1
        trees.totals[g, parent, action] += 1
        node = parent


# -- with a network ---------------------------------------------------------------------------------


@compiled
def _select(trees: Trees, g: int, node: int, exploration: float, reduction: float) -> int:
    """The action with the highest PUCT score."""
    priors, visits, totals = trees.priors[g, node], trees.visits[g, node], trees.totals[g, node]
    node_visits, total, seen = 1.0, float(trees.values[g, node]), 0.0
    for a in range(len(visits)):
        node_visits += visits[a]
        total += totals[a]
        if visits[a] > 0:
            seen += priors[a]
    unseen = first_play_value(total / node_visits, seen, reduction)
    best, chosen = -np.inf, len(visits) - 1
    for a in range(len(visits)):
        if priors[a] > 0:
            q = totals[a] / visits[a] if visits[a] > 0 else unseen
            score = puct_score(q, priors[a], visits[a], node_visits, exploration)
            if score > best:
                best, chosen = score, a
    return chosen


@numba.njit(cache=True, nogil=True)
def select_leaves(
    trees: Trees,
    root: Boards,
    work: Boards,
    wanted: int,
    komi: float,
    exploration: float,
    reduction: float,
    planes: np.ndarray,
    legal: np.ndarray,
    leaves: np.ndarray,
    keys: np.ndarray,
    play_out: bool,
    trial: Boards,
    notes: np.ndarray,
    random_state: np.ndarray,
    played: np.ndarray,
) -> tuple[int, int]:
    """Follows lines of tree 0 until `wanted` of them have ended, most at nodes that want evaluation.

    Args:
        root: The position searched, row 0.
        work: Boards to play on, at least `wanted`, as all that follow:
        planes: (n, 19, size²) uint8, filled for the leaves.
        legal: (n, A) bool, likewise.
        leaves: (n,) int32, the nodes.
        keys: (n,) uint64, the same for positions that a network need not tell apart.
        play_out: Whether to play a game to its end from each leaf.
        trial, notes, random_state: For these: a board, `playouts.new_notes` of it, (1,) uint64.
        played: (n,) float32, how they ended: 1 won by the player to move, −1 lost, 0 drawn.

    Returns:
        How many leaves there are, and how many lines ended with the game; fewer than wanted when a line
        met one of the leaves, neither when the tree is full.
    """
    result = ended = 0
    while result + ended < wanted:
        copy_board(work, result, root, 0)
        node = 0
        while node != FULL and trees.states[0, node] == OPEN:
            action = _select(trees, 0, node, exploration, reduction)
            node = _follow(trees, 0, work, result, node, action, komi)
        if node == FULL:
            break
        if trees.states[0, node] == OVER:
            back_up(trees, 0, node, trees.values[0, node])
            ended += 1
        elif trees.states[0, node] == PENDING:
            undo_virtual_loss(trees, 0, node)
            break
        else:
            trees.states[0, node] = PENDING
            observe(work, result, planes, legal)
            leaves[result] = node
            keys[result] = _key(work, result, planes[result])
            if play_out:
                copy_board(trial, 0, work, result)
                playout(trial, 0, notes, random_state)
                value = np.sign(area(trial, 0) - komi)
                played[result] = value if work.numbers[result, TO_PLAY] == BLACK else -value
            result += 1
    return result, ended


@numba.njit(cache=True, nogil=True)
def expand_and_backup(
    trees: Trees, leaves: np.ndarray, logits: np.ndarray, legal: np.ndarray, values: np.ndarray
) -> None:
    """Opens the leaves of tree 0 with their evaluations, and tells the ways back."""
    for k in range(len(leaves)):
        expand(trees, 0, leaves[k], logits[k], legal[k], values[k])
        back_up(trees, 0, leaves[k], values[k])


@compiled
def _key(boards: Boards, i: int, planes: np.ndarray) -> np.uint64:
    """A hash of the stones, the player to move, the last move and the points that ko forbids.

    Older moves are left out, so that most orders of the same moves share one evaluation."""
    key = boards.hashes[i, 0] ^ _scrambled(boards.numbers[i, TO_PLAY])
    key ^= _scrambled(8 + boards.numbers[i, LAST])
    for action in range(planes.shape[1]):
        if planes[13, action]:
            key ^= _scrambled(512 + action)
    return key


@compiled
def _scrambled(number: int) -> np.uint64:
    """A number spread over 64 bits, as SplitMix64 does."""
    x = np.uint64(number) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


# -- many games with a network, by Gumbel -----------------------------------------------------------


@numba.njit(cache=True, nogil=True)
def gather_each(
    trees: Trees,
    roots: Boards,
    work: Boards,
    wanted: np.ndarray,
    logits: np.ndarray,
    komi: float,
    scale: float,
    planes: np.ndarray,
    legal: np.ndarray,
    leaves: np.ndarray,
) -> None:
    """Follows one line in each tree.

    Args:
        roots, work: One board a tree, to search and to play on.
        wanted: (n,) int32, `wanted` of `halving_choice` at the root; -1 leaves a tree alone.
        logits: (n, A) float64, noisy, of the roots.
        planes, legal, leaves: As for `select_leaves`, one row a tree; leaves are -1 where nothing wants
            evaluation, as the game has ended.
    """
    for g in range(len(wanted)):
        leaves[g] = -1
        if wanted[g] < 0:
            continue
        copy_board(work, g, roots, g)
        node = 0
        if trees.states[g, 0] == OPEN:
            action = root_choice(trees, g, wanted[g], logits[g], scale)
            node = _follow(trees, g, work, g, 0, action, komi)
        while node != FULL and trees.states[g, node] == OPEN:
            policy, visits = trees.scratch[g, 0], trees.visits[g, node]
            improve(
                trees.priors[g, node],
                visits,
                trees.totals[g, node],
                trees.values[g, node],
                scale,
                policy,
            )
            node = _follow(trees, g, work, g, node, select_interior(policy, visits), komi)
        if node == FULL:
            continue
        if trees.states[g, node] == OVER:
            back_up(trees, g, node, trees.values[g, node])
        else:
            observe(work, g, planes, legal)
            leaves[g] = node


@compiled
def root_choice(trees: Trees, g: int, wanted: int, logits: np.ndarray, scale: float) -> int:
    """The best of the root's actions that were visited so often."""
    q, visits = trees.scratch[g, 1], trees.visits[g, 0]
    completed_q(trees.priors[g, 0], visits, trees.totals[g, 0], trees.values[g, 0], q)
    return halving_choice(logits, q, visits, wanted, scale)


@numba.njit(cache=True, nogil=True)
def absorb_each(
    trees: Trees,
    games: np.ndarray,
    leaves: np.ndarray,
    logits: np.ndarray,
    legal: np.ndarray,
    values: np.ndarray,
) -> None:
    """Opens a leaf of each game named; rows of `logits` and `values` follow `games`."""
    for k in range(len(games)):
        g = games[k]
        expand(trees, g, leaves[g], logits[k], legal[g], values[k])
        back_up(trees, g, leaves[g], values[k])


# -- without a network ------------------------------------------------------------------------------


@compiled
def _select_by_rave(trees: Trees, g: int, node: int, equivalence: float) -> int:
    """The action with the highest mix of its own value and RAVE's, the first impression included."""
    priors, visits, totals = trees.priors[g, node], trees.visits[g, node], trees.totals[g, node]
    rave_visits, rave_totals = trees.rave_visits[g, node], trees.rave_totals[g, node]
    best, chosen = -np.inf, len(visits) - 1
    for a in range(len(visits)):
        if priors[a] > 0:
            n = visits[a] + EXPECTED_GAMES
            score = (totals[a] + EXPECTED_GAMES * (2 * priors[a] - 1)) / n
            if rave_visits[a] > 0:
                share = rave_share(n, rave_visits[a], equivalence)
                score += share * (rave_totals[a] / rave_visits[a] - score)
            if score > best:
                best, chosen = score, a
    return chosen


@numba.njit(cache=True, nogil=True)
def simulate(
    trees: Trees,
    g: int,
    root: Boards,
    work: Boards,
    notes: np.ndarray,
    owned: np.ndarray,
    random_state: np.ndarray,
    simulations: int,
    komi: float,
    equivalence: float,
) -> None:
    """Searches by playouts and RAVE. A full tree grows no more, but counts on.

    Args:
        root: The position searched, row 0.
        work: Boards to play on, row g; notes and owned likewise.
        notes: (n, 2, points) uint16, of `playouts.new_notes`.
        owned: (n, 2, size, size) int32: how often a point was black's at the end, and white's; added to.
        random_state: (n, 1) uint64.
    """
    size, random = work.size, random_state[g]
    points = size * size
    first = np.zeros(points + 1, np.uint8)
    legal, owner = np.zeros(points + 1, np.bool_), np.zeros((size, size), np.int8)
    for _ in range(simulations):
        copy_board(work, g, root, 0)
        if trees.states[g, 0] == NEW:
            expect(work, g, legal, random, trees.priors[g, 0])
            trees.states[g, 0] = OPEN
        node = action = 0
        while True:
            action = _select_by_rave(trees, g, node, equivalence)
            play(work, g, action)
            child = trees.children[g, node, action]
            if child == 0:
                if trees.visits[g, node, action] < OPEN_AFTER or work.numbers[g, PASSES] >= 2:
                    break
                child = _new_node(trees, g, node, action)
                if child == FULL:
                    break
                trees.children[g, node, action] = child
                expect(work, g, legal, random, trees.priors[g, child])
                trees.states[g, child] = OPEN
            node = child
        colour = 3 - work.numbers[g, TO_PLAY]
        first[:] = 0
        if work.numbers[g, PASSES] < 2:
            playout(work, g, notes, random)
            for a in range(points):
                first[a] = notes[g, FIRST, point_of(size, a)]
        owners(work, g, owner)
        score = -komi
        for row in range(size):
            for column in range(size):
                black, white = owner[row, column] == BLACK, owner[row, column] == WHITE
                owned[g, 0, row, column] += black
                owned[g, 1, row, column] += white
                score += int(black) - int(white)
        value = np.sign(score) if colour == BLACK else -np.sign(score)
        while True:
            trees.visits[g, node, action] += 1
            trees.totals[g, node, action] += value
            first[action] = colour
            rave_visits, rave_totals = trees.rave_visits[g, node], trees.rave_totals[g, node]
            for a in range(points):
                as_first = np.float32(first[a] == colour)
                rave_visits[a] += as_first
                rave_totals[a] += as_first * np.float32(value)
            if node == 0:
                break
            node, action = trees.parents[g, node], trees.actions[g, node]
            colour, value = 3 - colour, -value
