"""Gumbel search in the latent states of a learnt model, of many roots at once.

Danihelka et al. 2022 ("Policy improvement by planning with Gumbel"): at the root a few actions are drawn
without replacement and reduced by sequential halving; below it the action is taken whose share of the visits
lags most behind the improved policy. Every simulation adds one node to the tree of each root, so one call of
the model serves all of them. The formulas are those of `agents.search.mcts`; as the scale of the values is
unknown, the completed Q-values of a node are scaled to 0…1 before they become logits (as in DeepMind's mctx), but
differences below a least span are not blown up: they may be errors of the network.

A model knows no rules: below the root every action counts as legal, and no state is terminal. It learns that
illegal actions are improbable, and that nothing follows the end of an episode.
"""

from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
import torch

from agents.search.mcts import (
    completed_q,
    halving_choice,
    halving_schedule,
    select_interior,
    sigma,
)

CANDIDATES = 16
"""Most actions that are drawn at a root (Danihelka et al. 2022)."""
VALUE_SCALE = 0.1
"""c_scale of the Q-values in 0…1 (mctx)."""
LEAST_PRIOR = 1e-12
"""Of a legal action, so that its logarithm is finite."""

Step = Callable[
    [torch.Tensor, torch.Tensor], tuple[torch.Tensor, np.ndarray, np.ndarray, np.ndarray]
]
"""A model as a function: states (n, …) and actions (n,) int64 to the next states, and as float32 the rewards (n,),
logits (n, actions) and values (n,) there."""


class Searched(NamedTuple):
    """Result of the searches from n roots."""

    policies: np.ndarray
    """(n, actions) float32: improved policies, for the network to learn; 0 for illegal actions."""
    values: np.ndarray
    """(n,) float32: the mean of the completed Q-values under the improved policy."""
    actions: np.ndarray
    """(n,) int64: the actions to take."""


class _Trees(NamedTuple):
    """The trees; node 0 is a root, and simulation k adds node k."""

    priors: np.ndarray
    """(n, nodes, actions) float64"""
    visits: np.ndarray
    totals: np.ndarray
    """Both (n, nodes, actions) float64; `totals` are sums of backed-up values."""
    children: np.ndarray
    """(n, nodes, actions) int32, 0 where there is none."""
    values: np.ndarray
    rewards: np.ndarray
    """Both (n, nodes) float64; a reward is that of the action that leads to the node."""
    parents: np.ndarray
    actions: np.ndarray
    """Both (n, nodes) int64: where a node was added."""


def search(
    step: Step,
    states: torch.Tensor,
    logits: np.ndarray,
    values: np.ndarray,
    masks: np.ndarray | None,
    simulations: int,
    discount: float,
    noise: np.ndarray,
    least_span: float = 0.0,
) -> Searched:
    """Search from n roots.

    Args:
        states, logits, values: of the roots: (n, …), (n, actions) and (n,).
        masks: (n, actions) bool, True where an action is legal at a root; None: everywhere.
        discount: negative in a game of two players who alternate.
        noise: (n, actions) Gumbel noise; zeros make the choice deterministic.
        least_span: of the Q-values of a node, by which they are scaled at most.
    """
    n, num_actions = logits.shape
    legal = np.ones((n, num_actions), bool) if masks is None else masks
    trees = _new_trees(n, simulations + 1, num_actions)
    _expand_roots(trees, logits, legal, values)
    root_logits = np.where(
        legal, noise + np.log(np.maximum(trees.priors[:, 0], LEAST_PRIOR)), -np.inf
    )
    considered = np.minimum(CANDIDATES, legal.sum(axis=1))
    schedules = {int(m): halving_schedule(int(m), simulations) for m in np.unique(considered)}
    wanted = np.array([schedules[int(m)] for m in considered], np.int64).reshape(n, simulations)
    everyone = torch.arange(n, device=states.device)
    memory = states.new_empty((simulations + 1, *states.shape))
    memory[0] = states
    for k in range(1, simulations + 1):
        parents, actions = _select(trees, wanted[:, k - 1], root_logits, least_span)
        chosen = memory[torch.from_numpy(parents).to(states.device), everyone]
        told = step(chosen, torch.from_numpy(actions).to(states.device))
        memory[k], rewards, following_logits, following_values = told
        _expand_and_backup(
            trees, k, parents, actions, rewards, following_logits, following_values, discount
        )
    return Searched(*_results(trees, root_logits, least_span))


def _new_trees(n: int, nodes: int, num_actions: int) -> _Trees:
    shape = (n, nodes, num_actions)
    return _Trees(
        priors=np.zeros(shape),
        visits=np.zeros(shape),
        totals=np.zeros(shape),
        children=np.zeros(shape, np.int32),
        values=np.zeros((n, nodes)),
        rewards=np.zeros((n, nodes)),
        parents=np.zeros((n, nodes), np.int64),
        actions=np.zeros((n, nodes), np.int64),
    )


@numba.njit(cache=True)
def improved(
    priors: np.ndarray,
    visits: np.ndarray,
    totals: np.ndarray,
    value: float,
    least_span: float,
    q: np.ndarray,
    policy: np.ndarray,
) -> None:
    """Fill `q` with the completed Q-values, scaled into 0…1 over the legal actions, and `policy` with
    softmax(log priors + σ(q)).

    Args:
        priors, visits, totals: (actions,); the prior of an illegal action is 0.
        value: the node's own evaluation.
    """
    completed_q(priors, visits, totals, value, q)
    low, high, most = np.inf, -np.inf, 0.0
    for a in range(len(q)):
        if priors[a] > 0:
            low, high = min(low, q[a]), max(high, q[a])
        most = max(most, visits[a])
    span = max(high - low, least_span, 1e-8)
    factor, highest = sigma(most, VALUE_SCALE), -np.inf
    for a in range(len(q)):
        q[a] = (q[a] - low) / span
        policy[a] = np.log(priors[a]) + factor * q[a] if priors[a] > 0 else -np.inf
        highest = max(highest, policy[a])
    total = 0.0
    for a in range(len(q)):
        policy[a] = np.exp(policy[a] - highest)
        total += policy[a]
    for a in range(len(q)):
        policy[a] /= total


@numba.njit(cache=True)
def _softmax(logits: np.ndarray, legal: np.ndarray, out: np.ndarray) -> None:
    highest, total = -np.inf, 0.0
    for a in range(len(logits)):
        if legal[a]:
            highest = max(highest, logits[a])
    for a in range(len(logits)):
        out[a] = np.exp(logits[a] - highest) if legal[a] else 0.0
        total += out[a]
    for a in range(len(logits)):
        out[a] = max(out[a] / total, LEAST_PRIOR) if legal[a] else 0.0


@numba.njit(cache=True)
def _expand_roots(trees, logits, legal, values):  # type: ignore[no-untyped-def]
    for g in range(len(logits)):
        _softmax(logits[g], legal[g], trees.priors[g, 0])
        trees.values[g, 0] = values[g]


@numba.njit(cache=True)
def _select(trees, wanted, root_logits, least_span):  # type: ignore[no-untyped-def]
    """The node and the action of each tree where its next node is added."""
    n, _, num_actions = trees.priors.shape
    parents, actions = np.zeros(n, np.int64), np.zeros(n, np.int64)
    q, policy = np.zeros(num_actions), np.zeros(num_actions)
    for g in range(n):
        node = 0
        known = (trees.priors[g, 0], trees.visits[g, 0], trees.totals[g, 0], trees.values[g, 0])
        improved(*known, least_span, q, policy)
        choice = halving_choice(root_logits[g], q, trees.visits[g, 0], wanted[g], VALUE_SCALE)
        while trees.children[g, node, choice]:
            node = trees.children[g, node, choice]
            visits, totals = trees.visits[g, node], trees.totals[g, node]
            value = trees.values[g, node]
            improved(trees.priors[g, node], visits, totals, value, least_span, q, policy)
            choice = select_interior(policy, visits)
        parents[g], actions[g] = node, choice
    return parents, actions


@numba.njit(cache=True)
def _expand_and_backup(trees, k, parents, actions, rewards, logits, values, discount):  # type: ignore[no-untyped-def]
    """Add node k to every tree, and back up its value."""
    legal = np.ones(logits.shape[1], np.bool_)
    for g in range(len(parents)):
        trees.children[g, parents[g], actions[g]] = k
        trees.parents[g, k], trees.actions[g, k] = parents[g], actions[g]
        trees.rewards[g, k], trees.values[g, k] = rewards[g], values[g]
        _softmax(logits[g], legal, trees.priors[g, k])
        node, value = k, float(values[g])
        while node:
            value = trees.rewards[g, node] + discount * value
            parent, action = trees.parents[g, node], trees.actions[g, node]
            trees.visits[g, parent, action] += 1
            trees.totals[g, parent, action] += value
            node = parent


@numba.njit(cache=True)
def _results(trees, root_logits, least_span):  # type: ignore[no-untyped-def]
    n, _, num_actions = trees.priors.shape
    policies = np.zeros((n, num_actions), np.float32)
    values, chosen = np.zeros(n, np.float32), np.zeros(n, np.int64)
    q, policy = np.zeros(num_actions), np.zeros(num_actions)
    for g in range(n):
        known = (trees.priors[g, 0], trees.visits[g, 0], trees.totals[g, 0], trees.values[g, 0])
        improved(*known, least_span, q, policy)
        most = trees.visits[g, 0].max()
        chosen[g] = halving_choice(root_logits[g], q, trees.visits[g, 0], most, VALUE_SCALE)
        completed_q(*known, q)
        policies[g] = policy
        values[g] = (policy * q).sum()
    return policies, values, chosen
