"""Networks with a memory beside them: the end-to-end memory network (Sukhbaatar et al. 2015).

The neural Turing machine, which also writes, is in `perception.networks.turing`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class MemoryNetwork(nn.Module):
    """Answers to questions about statements: each hop attends to the statements and adds what it reads to its state.

    A statement is the sum of its words' vectors, weighted by position (position encoding), and of a vector for how
    long ago it was (temporal encoding). Every hop has two such encodings of each statement: what it is found by, and
    what is read. Half of the state's units are rectified after each hop, as in the language model of the paper: without it
    a state cannot say whether what was read is what was asked.

    Args:
        words: known words, with padding (0).
        answers: classes.
        width: size of all vectors.
        hops: readings of the memory.
        memory: the most statements.
        tying: "adjacent": what a hop reads by is what the hop before it reads; question and answer share the
            matrices of the first and the last. "layer-wise": all hops have the same two encodings, and a
            linear map is between them.
    """

    def __init__(
        self,
        words: int,
        answers: int,
        width: int,
        hops: int,
        memory: int,
        tying: Literal["adjacent", "layer-wise"],
    ) -> None:
        super().__init__()
        self.hops, self.width = hops, width
        self.encodings = hops + 1 if tying == "adjacent" else 2
        self.embedding = nn.Embedding(words, self.encodings * width, padding_idx=0)
        self.times = nn.Parameter(torch.empty(memory, self.encodings, width))
        self.between = nn.Linear(width, width, bias=False) if tying == "layer-wise" else None
        self.answer = nn.Linear(width, answers, bias=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)
        with torch.no_grad():
            self.embedding.weight[0] = 0

    def forward(
        self,
        stories: Tensor,
        questions: Tensor,
        times: Tensor | None = None,
        linear: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Read a batch.

        Args:
            stories: int (n, memory, words), the last statement first; a statement without words is none.
            questions: int (n, words).
            times: int (n, memory), how many statements ago each was; None: 0, 1, 2, ….
            linear: attention without softmax, which training starts with.

        Returns:
            Scores (n, answers) and attention (n, hops, memory).
        """
        there = (stories > 0).any(dim=2)
        used = there.any(dim=0).nonzero()
        longest = 1 + int(used.max()) if len(used) else 1
        there, stories = there[:, :longest], stories[:, :longest]
        if times is None:
            times = torch.arange(longest, device=stories.device).expand(len(stories), -1)
        # Statements of all stories one after the other: few stories are long, and padding would be most of the work.
        encoded = self._encode(stories[there]) + self.times[times[:, :longest][there]]
        encodings = encoded.unbind(dim=1)
        story = there.nonzero()[:, 0]
        state = self._encode(questions)[:, 0]
        weights = []
        for hop in range(self.hops):
            by, read = (hop, hop + 1) if self.between is None else (0, 1)
            scores = (encodings[by] * state.index_select(0, story)).sum(dim=1)
            weight = scores.new_full(there.shape, 0 if linear else -torch.inf)
            weight = weight.masked_scatter(there, scores)
            weight = weight if linear else weight.softmax(dim=1)
            readings = encodings[read] * weight[there].unsqueeze(1)
            output = torch.zeros_like(state).index_add(0, story, readings)
            state = output + (state if self.between is None else self.between(state))
            linear_part, rest = state.split([self.width - self.width // 2, self.width // 2], dim=1)
            state = torch.cat([linear_part, rest.relu()], dim=1)
            weights.append(weight)
        return self.answer(state), torch.stack(weights, dim=1)

    def _encode(self, sentences: Tensor) -> Tensor:
        """Encodings (n, encodings, width) of sentences (n, words)."""
        there = sentences > 0
        longest = max(1, int(there.sum(dim=1).max())) if len(sentences) else 1
        sentences, there = sentences[:, :longest], there[:, :longest]
        place = torch.arange(1, longest + 1, device=sentences.device)
        part = place / there.sum(dim=1, keepdim=True).clamp(min=1)  # how far into the sentence
        component = torch.arange(1, self.width + 1, device=sentences.device) / self.width
        weights = 1 - part[..., None] - component * (1 - 2 * part[..., None])
        vectors = self.embedding(sentences.int())
        vectors = vectors.view(*sentences.shape, self.encodings, self.width)
        return (vectors * (weights * there[..., None]).unsqueeze(2)).sum(dim=1)
