"""The search trees of `agents.search.go_search`, compiled: rows of flat arrays that grow in place.

Functions take a tree as `(trees, g)`. Node 0 is its root, and a node's row has an entry for every action.
With a network, an action gets a child node when it is first taken; with playouts, after some visits. A child
always has a higher index than its parent, so a subtree can be moved to the front in one pass.

Values are −1…1 for the player to move at the node. An action counts as lost until its value is backed up
(virtual loss), so that the lines of one batch differ.
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
"""Values of `Trees.states`: not evaluated; waiting for its evaluation; evaluated; the game is over."""
FULL = -1
"""In place of a node: the tree is full."""

EXPECTED_GAMES = 12.0
"""Without a network: the number of playouts that the first estimate of a move weighs as much as."""
OPEN_AFTER = 2
"""Without a network: visits after which an action gets a child node."""


class Trees(NamedTuple):
    """The trees of n searches, with A actions."""

    priors: np.ndarray
    """(n, nodes, A) float32: the network's, with sum 1; without a network, first estimates of the win rate. 0 for
    actions that are illegal or excluded."""
    visits: np.ndarray
    """(n, nodes, A) int32"""
    totals: np.ndarray
    """(n, nodes, A) float32: sums of values for the player to move."""
    children: np.ndarray
    """(n, nodes, A) int32: child nodes, 0 for none."""
    rave_visits: np.ndarray
    """(n, nodes, A) float32: "all moves as first" counts; empty with a network."""
    rave_totals: np.ndarray
    """(n, nodes, A) float32"""
    values: np.ndarray
    """(n, nodes) float32: the network's value, or the game's result."""
    states: np.ndarray
    """(n, nodes) int8"""
    parents: np.ndarray
    """(n, nodes) int32"""
    actions: np.ndarray
    """(n, nodes) int16: the action that leads here from the parent."""
    used: np.ndarray
    """(n,) int32: nodes in use."""
    scratch: np.ndarray
    """(n, 2, A) float64: working memory, no state."""


def node_bytes(size: int, rave: bool) -> int:
    """Return the memory of one node in bytes."""
    return (size * size + 1) * (24 if rave else 16) + 11


def new_trees(n: int, nodes: int, size: int, rave: bool = False) -> Trees:
    """Return n empty trees with room for a number of nodes each; pages of memory are only used when written."""
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
    """Reset a tree to its root."""
    trees.used[g] = 0
    _new_node(trees, g, 0, 0)


@compiled
def _new_node(trees: Trees, g: int, parent: int, action: int) -> int:
    """Return a new node, or `FULL`."""
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
    """Make a node the root, and drop everything that is not below it.

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
            # Children that are kept set their own entries later.
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
    """Expand a node with a network's evaluation; the arrays are (A,)."""
    priors, highest = trees.priors[g, node], -np.inf
    for a in range(len(legal)):
        if legal[a]:
            highest = max(highest, logits[a])
    total = 0.0
    for a in range(len(legal)):
        # A legal action keeps a prior above 0, because 0 marks illegal ones.
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
    """Play an action on the board with a virtual loss, and return the child node."""
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
    """Return the result if the game ended here, for the player to move: 1 won, −1 lost, 0 drawn."""
    value = np.sign(area(boards, i) - komi)
    return value if boards.numbers[i, TO_PLAY] == BLACK else -value


@compiled
def back_up(trees: Trees, g: int, node: int, value: float) -> None:
    """Back up the value of a line, for the player to move at its end, to the root."""
    while node != 0:
        value = -value
        parent, action = trees.parents[g, node], trees.actions[g, node]
        trees.totals[g, parent, action] += value + 1
        node = parent


@compiled
def undo_virtual_loss(trees: Trees, g: int, node: int) -> None:
    """Remove the virtual losses of a line that was given up."""
    while node != 0:
        parent, action = trees.parents[g, node], trees.actions[g, node]
        trees.visits[g, parent, action] -= 1
        trees.totals[g, parent, action] += 1
        node = parent


# -- with a network ---------------------------------------------------------------------------------


@compiled
def _select(trees: Trees, g: int, node: int, exploration: float, reduction: float) -> int:
    """Return the action with the highest PUCT score."""
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
    """Follow lines of tree 0 until `wanted` of them have ended, at a leaf to evaluate or at the game's end.

    Args:
        root: the position searched, row 0.
        work: boards to play on; this and the arrays below have at least `wanted` rows.
        planes: (n, 19, size²) uint8, filled for the leaves.
        legal: (n, A) bool, filled for the leaves.
        leaves: (n,) int32, filled with the nodes.
        keys: (n,) uint64, filled with `_key` of the positions.
        play_out: whether to run a playout from each leaf.
        trial, notes, random_state: for the playouts: a board, `playouts.new_notes` of it, (1,) uint64.
        played: (n,) float32, filled with their results: 1 won by the player to move, −1 lost, 0 drawn.

    Returns:
        The number of leaves, and of lines that ended with the game. They are fewer than wanted if a line met
        a leaf of the batch, or if the tree is full.
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
    """Expand the leaves of tree 0 with their evaluations, and back up their values."""
    for k in range(len(leaves)):
        expand(trees, 0, leaves[k], logits[k], legal[k], values[k])
        back_up(trees, 0, leaves[k], values[k])


@compiled
def _key(boards: Boards, i: int, planes: np.ndarray) -> np.uint64:
    """Return a hash of the stones, the player to move, the last move and the points that ko forbids.

    It leaves out older moves, so that most orders of the same moves share one evaluation."""
    key = boards.hashes[i, 0] ^ _scrambled(boards.numbers[i, TO_PLAY])
    key ^= _scrambled(8 + boards.numbers[i, LAST])
    for action in range(planes.shape[1]):
        if planes[13, action]:
            key ^= _scrambled(512 + action)
    return key


@compiled
def _scrambled(number: int) -> np.uint64:
    """Return a number mixed over 64 bits, as in SplitMix64."""
    x = np.uint64(number) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


# -- many games with a network, by Gumbel -----------------------------------------------------------


@numba.njit(cache=True, nogil=True)
def select_leaf_each(
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
    """Follow one line in each tree.

    Args:
        roots, work: one board per tree, to search and to play on.
        wanted: (n,) int32, `wanted` of `halving_choice` at the root; -1 skips a tree.
        logits: (n, A) float64, of the roots, with noise.
        planes, legal, leaves: as for `select_leaves`, one row per tree; a leaf is -1 if the line ended with
            the game.
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
    """Return the best of the root's actions with this number of visits."""
    q, visits = trees.scratch[g, 1], trees.visits[g, 0]
    completed_q(trees.priors[g, 0], visits, trees.totals[g, 0], trees.values[g, 0], q)
    return halving_choice(logits, q, visits, wanted, scale)


@numba.njit(cache=True, nogil=True)
def expand_and_backup_each(
    trees: Trees,
    games: np.ndarray,
    leaves: np.ndarray,
    logits: np.ndarray,
    legal: np.ndarray,
    values: np.ndarray,
) -> None:
    """Expand a leaf of each game in `games`, and back up its value; `logits` and `values` have the same order."""
    for k in range(len(games)):
        g = games[k]
        expand(trees, g, leaves[g], logits[k], legal[g], values[k])
        back_up(trees, g, leaves[g], values[k])


# -- without a network ------------------------------------------------------------------------------


@compiled
def _select_by_rave(trees: Trees, g: int, node: int, equivalence: float) -> int:
    """Return the action with the highest mix of its own value and RAVE's; both include the first estimate."""
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
    """Search by playouts and RAVE. A full tree gets no more nodes, but its statistics are still updated.

    Args:
        root: the position searched, row 0.
        work: boards to play on; this tree uses row g, also of the arrays below.
        notes: (n, 2, points) uint16, from `playouts.new_notes`.
        owned: (n, 2, size, size) int32: how often a point was black's, and white's, at the end; added to.
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
