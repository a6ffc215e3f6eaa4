"""The neural Turing machine (Graves, Wayne & Danihelka 2014)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TuringMachine(nn.Module):
    """A network that writes to a memory and reads from it, through one head each.

    In each step both heads are addressed: by content (cosine similarity with a key), mixed with where they were, moved by up
    to one place in either direction, and sharpened. Then one writes and the other reads. The controller is a layer of
    tanh units that gets the input and what was read before; it has no state of its own. Heads start at the first
    place, and all places hold the same small number (Collier & Beel 2018).

    Args:
        inputs, outputs: numbers per step.
        hidden_size: units of the controller.
        places, width: size of the memory; `places` may be changed later, no weight depends on it.
    """

    def __init__(
        self, inputs: int, outputs: int, hidden_size: int, places: int, width: int
    ) -> None:
        super().__init__()
        self.places, self.width = places, width
        self.input = nn.Linear(inputs, hidden_size)
        self.feedback = nn.Linear(width, hidden_size, bias=False)
        # Of both heads keys, an addition and an erasure, and strength, sharpening, gate and shift.
        self.sizes = (3 * width, width + 2, 4, 6)
        self.heads = nn.Linear(hidden_size, sum(self.sizes))
        self.output = nn.Linear(hidden_size + width, outputs)
        self.first_reading = nn.Parameter(torch.zeros(width))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Run over time.

        Args:
            inputs: (time, batch, inputs).

        Returns:
            Outputs (time, batch, outputs), and where the heads are (time, batch, 2, places): writing, reading.
        """
        batch, width = inputs.shape[1], self.width
        memory = inputs.new_full((batch, self.places, width), 1e-6)
        weights = inputs.new_zeros(batch, 2, self.places)
        weights[..., 0] = 1
        reading = self.first_reading.expand(batch, -1)
        hiddens, readings, addresses = [], [], []
        for x in self.input(inputs).unbind():
            hidden = torch.tanh(x + self.feedback(reading))
            signed, parts, positive, shift = self.heads(hidden).split(self.sizes, dim=1)
            signed, parts, positive = signed.tanh(), parts.sigmoid(), F.softplus(positive)
            keys, addition = signed[:, : 2 * width].view(batch, 2, width), signed[:, 2 * width :]
            erasure, gate = parts[:, :width], parts[:, width:].unsqueeze(2)
            strength, sharpness = positive[:, :2].unsqueeze(2), 1 + positive[:, 2:].unsqueeze(2)

            similarity = F.normalize(keys, dim=2) @ F.normalize(memory, dim=2, eps=0.1).mT
            weights = torch.lerp(weights, (strength * similarity).softmax(dim=2), gate)
            circle = torch.cat([weights[..., -1:], weights, weights[..., :1]], dim=2)
            shifts = shift.view(batch, 2, 1, 3).softmax(dim=3)
            weights = (circle.unfold(2, 3, 1) * shifts).sum(dim=3).clamp(min=1e-12) ** sharpness
            weights = weights / weights.sum(dim=2, keepdim=True)

            writing = weights[:, 0].unsqueeze(2)
            memory = memory * (1 - writing * erasure.unsqueeze(1)) + writing * addition.unsqueeze(1)
            reading = (weights[:, 1:] @ memory).squeeze(1)
            hiddens.append(hidden)
            readings.append(reading)
            addresses.append(weights)
        outputs = self.output(torch.cat([torch.stack(hiddens), torch.stack(readings)], dim=2))
        return outputs, torch.stack(addresses)
