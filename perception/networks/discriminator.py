"""The discriminator of adversarial imitation: whose pair of observation and action is this?"""

import gymnasium as gym
import torch
from torch import nn
from torch.nn import functional as F

from perception.networks.encoders import encoder


class Discriminator(nn.Module):
    """Network from observations and actions to the logit of the probability that they are an expert's.

    An encoder for the observations, a hidden layer over its features and those of the action, and their products:
    which of several numbered actions is right depends on the observation, and a product learns that fast.

    Args:
        space: of one observation, flat.
        action_size: features of an action.
        hidden_size: width of the dense layers.
        cnn: layers for images, see `perception.networks.encoders.encoder`.
    """

    def __init__(self, space: gym.Space, action_size: int, hidden_size: int, cnn: str) -> None:
        super().__init__()
        self.encoder = encoder(space, hidden_size, cnn, F.tanh)
        self.hidden = nn.Linear(self.encoder.features + action_size, hidden_size)
        self.logit = nn.Linear(hidden_size, 1)
        self.weights = nn.Linear(self.encoder.features, action_size)

    def forward(
        self, observations: tuple[torch.Tensor, ...], actions: torch.Tensor
    ) -> torch.Tensor:
        """(n,) logits of n observations, each (n, …), and (n, action_size) features of actions."""
        flat = observations[0] if len(observations) == 1 else observations
        features = self.encoder(flat).float()
        hidden = F.tanh(self.hidden(torch.cat([features, actions], dim=1)))
        return self.logit(hidden).squeeze(1) + (self.weights(features) * actions).sum(dim=1)
