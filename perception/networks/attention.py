"""Attention (Bahdanau, Cho & Bengio 2015)."""

import torch
from torch import nn


class Attention(nn.Module):
    """Additive attention: a small network scores every key against a query; softmax makes weights of the scores.

    Args:
        query: size of a query.
        key: size of a key; keys are the values too.
        hidden_size: width of the scoring network.
    """

    def __init__(self, query: int, key: int, hidden_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query, hidden_size)
        self.key = nn.Linear(key, hidden_size, bias=False)
        self.score = nn.Linear(hidden_size, 1, bias=False)

    def forward(
        self, queries: torch.Tensor, keys: torch.Tensor, there: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend once for every query.

        Args:
            queries: (batch, n, query) float.
            keys: (batch, m, key) float.
            there: (batch, m) bool, False for padding, which gets weight 0; each row has at least one True.
                None: no padding.

        Returns:
            Weighted sums of the keys (batch, n, key) and the weights (batch, n, m), which sum to 1 by row.
        """
        return self.look(queries, keys, self.key(keys), there)

    def look(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        projected: torch.Tensor,
        there: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`forward` with `self.key(keys)` computed before, once for the queries of many steps."""
        both = self.query(queries).unsqueeze(2) + projected.unsqueeze(1)
        scores = self.score(both.tanh()).squeeze(3)
        if there is not None:
            scores = scores.masked_fill(~there.unsqueeze(1), -torch.inf)
        weights = scores.softmax(dim=2)
        return weights @ keys, weights
