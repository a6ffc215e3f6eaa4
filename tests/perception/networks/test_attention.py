import torch

from perception.networks.attention import Attention


def test_what_is_not_there_is_not_looked_at() -> None:
    torch.manual_seed(0)
    attention = Attention(3, 4, 5)
    queries, keys = torch.randn(2, 6, 3), torch.randn(2, 7, 4)
    there = torch.ones(2, 7, dtype=torch.bool)
    there[0, 4:] = False
    result, weights = attention(queries, keys, there)
    assert result.shape == (2, 6, 4)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 6))
    assert not weights[0, :, 4:].any()
    shorter, _ = attention(queries[:1], keys[:1, :4])
    torch.testing.assert_close(result[:1], shorter)


def test_the_key_that_fits_the_query_is_found() -> None:
    """It learns to hand over the key that is closest to the query."""
    torch.manual_seed(0)
    attention = Attention(4, 4, 32)
    adam = torch.optim.Adam(attention.parameters(), lr=0.01)
    for _ in range(300):
        keys = torch.eye(4)[torch.rand(64, 4).argsort(dim=1)]
        queries = torch.eye(4)[torch.randint(4, (64, 1))]
        loss = (attention(queries, keys)[0] - queries).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    keys = torch.eye(4)[torch.rand(64, 4).argsort(dim=1)]
    queries = torch.eye(4)[torch.randint(4, (64, 1))]
    _, weights = attention(queries, keys)
    chosen = weights[:, 0].argmax(dim=1)
    assert torch.equal(keys[torch.arange(64), chosen], queries[:, 0])
