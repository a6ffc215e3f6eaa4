"""Monte-Carlo tree search over any model: simulate single lines, prefer those that went well, and average.

There are three rules for choosing actions. UCT (Kocsis & Szepesvári 2006) needs no prior knowledge. PUCT
(Silver et al. 2017) follows a policy's priors. Gumbel (Danihelka et al. 2022) draws a few actions at the
root, reduces them by sequential halving, and improves the policy even with few simulations. The formulas are
separate compiled functions, because `agents.search.go_search`, the fast search for Go, uses them too; RAVE
(Gelly & Silver 2011), which needs playouts, is used only there.

Values are for the player to move. In a game of two players who alternate, a value for the next player is its
negative for this one, so such a model has the discount −1.

`uct`, `puct` and `Node.most_visited` are the readable search that the compiled one of
`agents.search.go_search` is tested against.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numba
import numpy as np

State = TypeVar("State")

VISITS_SCALE = 50
"""Visits added to those of the most visited action when values become logits (c_visit in Danihelka et al.
2022)."""

# -- formulas ---------------------------------------------------------------------------------------


@numba.njit(cache=True)
def uct_score(q: float, visits: float, node_visits: float, exploration: float) -> float:
    """Return the upper confidence bound of an action that was taken `visits` times in `node_visits`."""
    if visits == 0:
        return math.inf
    return q + exploration * math.sqrt(math.log(node_visits) / visits)


@numba.njit(cache=True)
def puct_score(
    q: float, prior: float, visits: float, node_visits: float, exploration: float
) -> float:
    """Return the upper confidence bound with a prior. `node_visits` is at least 1: it counts the node's own
    evaluation."""
    return q + exploration * prior * math.sqrt(node_visits) / (1 + visits)


@numba.njit(cache=True)
def first_play_value(mean: float, seen_prior: float, reduction: float) -> float:
    """Return the assumed value of an action that was never taken: the node's mean value, reduced by the share
    of the prior that was visited, because likely actions come first."""
    return mean - reduction * math.sqrt(seen_prior)


@numba.njit(cache=True)
def rave_share(visits: float, rave_visits: float, equivalence: float) -> float:
    """Return the weight of the "all moves as first" value against an action's own: 1 before its first visit,
    one half near `equivalence` visits, then falling (Gelly & Silver 2011, with `equivalence` = 1 / 4b²)."""
    if rave_visits == 0:
        return 0.0
    return rave_visits / (visits + rave_visits + visits * rave_visits / equivalence)


@numba.njit(cache=True)
def completed_q(
    priors: np.ndarray, visits: np.ndarray, totals: np.ndarray, value: float, out: np.ndarray
) -> None:
    """Fill out with the completed Q-values: an action's mean value, or the node's value if it was never taken.

    The node's value mixes its own evaluation with the means of the actions taken, weighted by their priors
    (Danihelka et al. 2022, appendix D).

    Args:
        priors, visits, totals: (n,) per action; the prior of an illegal action is 0.
        value: the node's evaluation.
    """
    taken = seen = weighted = 0.0
    for a in range(len(priors)):
        if visits[a] > 0:
            taken += visits[a]
            seen += priors[a]
            weighted += priors[a] * totals[a] / visits[a]
    mixed = value if taken == 0 else (value + taken * weighted / seen) / (1 + taken)
    for a in range(len(priors)):
        out[a] = totals[a] / visits[a] if visits[a] > 0 else mixed


@numba.njit(cache=True)
def sigma(most_visits: float, scale: float) -> float:
    """Return the factor that turns values into logits; it grows with the visits behind them."""
    return (VISITS_SCALE + most_visits) * scale


@numba.njit(cache=True)
def improve(
    priors: np.ndarray,
    visits: np.ndarray,
    totals: np.ndarray,
    value: float,
    scale: float,
    out: np.ndarray,
) -> None:
    """Fill out with the improved policy: softmax(log priors + σ(completed Q-values)).

    Args:
        priors, visits, totals, value: as for `completed_q`.
        scale: c_scale; 1 for values from 0 to 1, so 0.5 for values from −1 to 1.
    """
    completed_q(priors, visits, totals, value, out)
    most = 0.0
    for a in range(len(priors)):
        most = max(most, visits[a])
    factor, highest = sigma(most, scale), -math.inf
    for a in range(len(priors)):
        out[a] = math.log(priors[a]) + factor * out[a] if priors[a] > 0 else -math.inf
        highest = max(highest, out[a])
    total = 0.0
    for a in range(len(priors)):
        out[a] = math.exp(out[a] - highest)
        total += out[a]
    for a in range(len(priors)):
        out[a] /= total


@numba.njit(cache=True)
def select_interior(policy: np.ndarray, visits: np.ndarray) -> int:
    """Return the action whose share of visits is farthest below its share of the policy. Below the root,
    Gumbel search chooses by this and draws nothing."""
    taken = 0.0
    for a in range(len(visits)):
        taken += visits[a]
    best, chosen = -math.inf, 0
    for a in range(len(policy)):
        if policy[a] > 0:
            lack = policy[a] - visits[a] / (1 + taken)
            if lack > best:
                best, chosen = lack, a
    return chosen


def halving_schedule(candidates: int, simulations: int) -> list[int]:
    """Return the schedule of sequential halving (Karnin et al. 2013): for each simulation at the root, the
    number of visits that the action it takes has had before.

    Each round visits its actions equally often: the first round all candidates, the next the better half,
    and so on. Simulations left over go to the last two.
    """
    if candidates <= 1:
        return list(range(simulations))
    rounds = math.ceil(math.log2(candidates))
    schedule: list[int] = []
    level, left = 0, candidates
    while len(schedule) < simulations:
        for _ in range(max(1, simulations // (rounds * left))):
            schedule += [level] * left
            level += 1
        left = max(2, left // 2)
    return schedule[:simulations]


@numba.njit(cache=True)
def halving_choice(
    logits: np.ndarray,
    q: np.ndarray,
    visits: np.ndarray,
    wanted: int,
    scale: float,
) -> int:
    """Return the best of the actions visited `wanted` times, by logit + σ(value).

    Args:
        logits: (n,) Gumbel noise + log prior, −inf for illegal actions.
        q: (n,) completed Q-values.
    """
    most = 0.0
    for a in range(len(visits)):
        most = max(most, visits[a])
    factor, best, chosen = sigma(most, scale), -math.inf, -1
    for a in range(len(visits)):
        if visits[a] == wanted and logits[a] + factor * q[a] > best:
            best, chosen = logits[a] + factor * q[a], a
    return chosen


# -- the search -------------------------------------------------------------------------------------


class Model(Protocol[State]):
    """The model that is searched: an environment, or a game of two players."""

    discount: float
    """The factor for a value one step earlier: at most 1, and negative in games of two players."""

    def actions(self, state: State) -> Sequence[int]:
        """Return the legal actions; none if the state is terminal."""

    def step(self, state: State, action: int) -> tuple[State, float]:
        """Return the state after an action, and the reward of the player who acted."""

    def evaluate(self, state: State) -> tuple[np.ndarray, float]:
        """Return priors of the legal actions (sum 1) and an estimated value, by a network, a playout, …"""


@dataclass
class Node(Generic[State]):
    """A state of the tree, with the statistics of its actions."""

    state: State
    actions: Sequence[int]
    priors: np.ndarray
    value: float
    """The model's evaluation; 0 if the state is terminal."""
    visits: np.ndarray
    totals: np.ndarray
    """Sums of the values that were backed up to each action."""
    children: "list[dict[Hashable, Node[State]]]"
    """The nodes that each action has led to, one for each outcome."""
    reward: float
    """Of the action that led here, when it first did."""

    @property
    def mean(self) -> float:
        """Return the mean of the node's evaluation and of all visits."""
        return float((self.value + self.totals.sum()) / (1 + self.visits.sum()))

    def most_visited(self) -> int:
        """Return the action to take."""
        return self.actions[int(self.visits.argmax())]


Outcome = Callable[[State], Hashable]
"""Tells the outcomes of chance apart: states for which it is equal are one."""


def uct(
    model: Model[State],
    state: State,
    simulations: int,
    exploration: float = math.sqrt(2),
    outcome: Outcome[State] | None = None,
) -> Node[State]:
    """Search by upper confidence bounds.

    Args:
        exploration: c of `uct_score`; √2 fits values from 0 to 1 (Auer et al. 2002).
        outcome: of a model with chance: every simulation then asks it anew what an action leads to. None: it would
            always say the same.
    """

    def select(node: Node[State]) -> int:
        n = node.visits.sum()
        q = node.totals / np.maximum(node.visits, 1)
        scores = [uct_score(q[a], node.visits[a], n, exploration) for a in range(len(node.actions))]
        return int(np.argmax(scores))

    root = _node(model, state)
    for _ in range(simulations):
        _simulate(model, root, select(root), select, outcome)
    return root


def puct(
    model: Model[State],
    state: State,
    simulations: int,
    exploration: float = 1.25,
    reduction: float = 0.25,
    outcome: Outcome[State] | None = None,
) -> Node[State]:
    """Search by the model's priors.

    Args:
        exploration: c of `puct_score` (Schrittwieser et al. 2020: 1.25).
        reduction: that of `first_play_value`.
        outcome: as for `uct`.
    """

    def select(node: Node[State]) -> int:
        n = 1 + node.visits.sum()
        seen = node.priors[node.visits > 0].sum()
        unseen = first_play_value(node.mean, seen, reduction)
        q = np.where(node.visits > 0, node.totals / np.maximum(node.visits, 1), unseen)
        scores = [
            puct_score(q[a], node.priors[a], node.visits[a], n, exploration)
            for a in range(len(node.actions))
        ]
        return int(np.argmax(scores))

    root = _node(model, state)
    for _ in range(simulations):
        _simulate(model, root, select(root), select, outcome)
    return root


def gumbel(
    model: Model[State],
    state: State,
    simulations: int,
    rng: np.random.Generator,
    candidates: int = 16,
    scale: float = 0.5,
    outcome: Outcome[State] | None = None,
) -> tuple[Node[State], int, np.ndarray]:
    """Search a few actions drawn without replacement, by sequential halving.

    Args:
        candidates: how many actions are drawn.
        scale: that of `improve`.
        outcome: as for `uct`.

    Returns:
        The root; the action to take, which is random; and the improved policy over the root's actions, for
        the model to learn.
    """

    def select(node: Node[State]) -> int:
        policy = np.empty(len(node.actions))
        improve(node.priors, node.visits, node.totals, node.value, scale, policy)
        return select_interior(policy, node.visits)

    root = _node(model, state)
    n = len(root.actions)
    logits, q = rng.gumbel(size=n) + np.log(root.priors), np.empty(n)
    for wanted in halving_schedule(min(candidates, n), simulations):
        completed_q(root.priors, root.visits, root.totals, root.value, q)
        first = halving_choice(logits, q, root.visits, wanted, scale)
        _simulate(model, root, first, select, outcome)
    completed_q(root.priors, root.visits, root.totals, root.value, q)
    chosen = halving_choice(logits, q, root.visits, int(root.visits.max()), scale)
    policy = np.empty(n)
    improve(root.priors, root.visits, root.totals, root.value, scale, policy)
    return root, root.actions[chosen], policy


def _node(model: Model[State], state: State, reward: float = 0.0) -> Node[State]:
    actions = model.actions(state)
    n = len(actions)
    priors, value = model.evaluate(state) if n else (np.zeros(0), 0.0)
    return Node(
        state, actions, priors, value, np.zeros(n), np.zeros(n), [{} for _ in range(n)], reward
    )


def _simulate(
    model: Model[State],
    root: Node[State],
    first: int,
    select: Callable[[Node[State]], int],
    outcome: Outcome[State] | None,
) -> None:
    """Run one simulation: select down to a leaf, expand it, and back up its value."""
    node, choice = root, first
    path: list[tuple[Node[State], int, float]] = []
    while True:
        children = node.children[choice]
        if outcome is None and children:
            child = children[None]
            path.append((node, choice, child.reward))
        else:
            state, reward = model.step(node.state, node.actions[choice])
            path.append((node, choice, reward))
            which = None if outcome is None else outcome(state)
            if which not in children:
                child = children[which] = _node(model, state, reward)
                break
            child = children[which]
        if not child.actions:
            break
        node, choice = child, select(child)
    value = child.value
    for node, choice, reward in reversed(path):
        value = reward + model.discount * value
        node.visits[choice] += 1
        node.totals[choice] += value
