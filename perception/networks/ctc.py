"""Connectionist temporal classification (Graves et al. 2006): sequences from frames without an alignment.

A network gives every frame a distribution over the symbols and a blank. A path has one of these per frame; it is read
by merging repeats and then dropping blanks: "--33-3--5" reads "335". The blank thus stands for "nothing new", and it
must separate a symbol from its repetition. The probability of a sequence is the sum over all paths that read as it,
which the forward algorithm computes in time linear in the frames. Numbers of symbols begin at 1; the blank is 0.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

BLANK = 0
_NEVER = -1e30
"""Log-probability of what cannot be; finite, so that its gradient is 0 and not NaN."""


def read_path(path: Sequence[int]) -> list[int]:
    """The sequence that a path stands for: repeats merged, then blanks dropped."""
    return [symbol for symbol, _ in itertools.groupby(path) if symbol != BLANK]


def _with_blanks(labels: Sequence[int]) -> tuple[list[int], list[bool]]:
    """The states of a path, blank, label, blank … blank, and whether each may follow the last but one.

    A blank between two different labels may be skipped; one between equal labels may not.
    """
    states = [BLANK]
    for label in labels:
        states += [label, BLANK]
    skips = [at > 1 and one != BLANK and one != states[at - 2] for at, one in enumerate(states)]
    return states, skips


def log_likelihood(log_probs: Tensor, labels: Sequence[int]) -> Tensor:
    """The log-probability of a sequence by the forward algorithm; differentiable. Minus this is the CTC loss.

    Args:
        log_probs: (frames, symbols) float, at least one frame; each row a log-distribution.
        labels: numbers of the symbols, 1 or more.

    Returns:
        A scalar; about -1e30 where the frames are too few for the labels.
    """
    states, skips = _with_blanks(labels)
    emitted = log_probs[:, states]
    no_skip = ~torch.tensor(skips, device=log_probs.device)
    never = emitted.new_full((2,), _NEVER)
    # A path begins with the blank or the first label, as if from a state before both.
    total = torch.full_like(emitted[0], _NEVER)
    total = torch.cat([emitted[0, :2], total[2:]])
    for row in emitted[1:]:
        before = torch.cat([never, total])
        ways = [total, before[1:-1], before[:-2].masked_fill(no_skip, _NEVER)]
        total = torch.stack(ways).logsumexp(dim=0) + row
    return total[-2:].logsumexp(dim=0)


def align(log_probs: np.ndarray, labels: Sequence[int]) -> list[int]:
    """The most probable path (frames,) that reads as `labels`, by the Viterbi algorithm.

    Args:
        log_probs: (frames, symbols).

    Raises:
        ValueError: the frames are too few for the labels.
    """
    states, skips = _with_blanks(labels)
    total = np.full(len(states), -np.inf)
    total[:2] = log_probs[0, states[:2]]
    origins = []
    for row in log_probs[1:]:
        before = np.concatenate([[-np.inf, -np.inf], total])
        one, two = before[1:-1], before[:-2]
        ways = np.stack([total, one, np.where(skips, two, -np.inf)])
        best = ways.argmax(axis=0)
        origins.append(np.arange(len(states)) - best)
        total = ways[best, np.arange(len(states))] + row[states]
    at = len(states) - 1 - int(np.argmax(total[:-3:-1]))  # the last blank, or the last label
    if total[at] == -np.inf:
        raise ValueError(f"{len(log_probs)} frames are too few for {len(labels)} labels")
    path = [states[at]]
    for origin in reversed(origins):
        at = int(origin[at])
        path.append(states[at])
    return path[::-1]


def greedy(log_probs: np.ndarray) -> list[int]:
    """What the most probable path reads as; not always the most probable sequence."""
    return read_path(log_probs.argmax(axis=1).tolist())


def prefix_beam_search(log_probs: np.ndarray, width: int) -> list[tuple[list[int], float]]:
    """The most probable sequences with their log-probabilities, best first (Hannun et al. 2014, without a language model).

    For each prefix it sums over the paths so far that read as it, those that end in a blank apart from those that
    end in the prefix's last symbol: only after a blank does the same symbol begin anew.

    Args:
        log_probs: (frames, symbols).
        width: prefixes kept after each frame. With all of them kept, the log-probabilities are exact; with fewer, they
            are lower bounds.
    """
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (1.0, 0.0)}
    scale = 0.0  # probabilities are those of the beam times exp(scale): they would underflow
    for row in np.exp(log_probs).tolist():
        blank: dict[tuple[int, ...], float] = defaultdict(float)
        symbol: dict[tuple[int, ...], float] = defaultdict(float)
        for prefix, (after_blank, after_symbol) in beam.items():
            either = after_blank + after_symbol
            blank[prefix] += either * row[BLANK]
            last = prefix[-1] if prefix else BLANK
            if last != BLANK:
                symbol[prefix] += after_symbol * row[last]
            for number, probability in enumerate(row):
                if number != BLANK:
                    before = after_blank if number == last else either
                    symbol[*prefix, number] += before * probability
        totals = {prefix: blank[prefix] + symbol[prefix] for prefix in {**blank, **symbol}}
        best = [prefix for prefix in totals if totals[prefix] > 0]
        best = sorted(best, key=totals.__getitem__, reverse=True)[:width]
        most = totals[best[0]]
        scale += math.log(most)
        beam = {prefix: (blank[prefix] / most, symbol[prefix] / most) for prefix in best}
    return [(list(prefix), math.log(sum(both)) + scale) for prefix, both in beam.items()]
