"""The discriminator of adversarial imitation: whose pair of observation and action is this?"""

import gymnasium as gym
import torch
from torch import nn
from torch.nn import functional as F

from perception.networks.encoders import encoder


class Discriminator(nn.Module):
    """Network from observations and actions to the logit of the probability that they are an expert's.

    An encoder for the observations, and a hidden layer over its features and those of the action.

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

    def forward(
        self, observations: tuple[torch.Tensor, ...], actions: torch.Tensor
    ) -> torch.Tensor:
        """(n,) logits of n observations, each (n, …), and (n, action_size) features of actions."""
        flat = observations[0] if len(observations) == 1 else observations
        features = torch.cat([self.encoder(flat).float(), actions], dim=1)
        return self.logit(F.tanh(self.hidden(features))).squeeze(1)
