"""Recurrent networks: an encoder of sequences, and a memory over the steps of an episode."""

from typing import ClassVar

import torch
from torch import nn


class SequenceEncoder(nn.Module):
    """The last state of a GRU (Cho et al. 2014) over a padded sequence.

    Takes (batch, length, k + 1) numbers; the last column is 1 for an element and 0 for padding, which comes
    after the elements. Gives (batch, `features`), zeros for an empty sequence.
    """

    name: ClassVar[str] = "GRU"

    def __init__(self, shape: tuple[int, ...], hidden_size: int) -> None:
        super().__init__()
        self.gru = nn.GRU(shape[1] - 1, hidden_size, batch_first=True)
        self.features = hidden_size

    def forward(self, sequences: torch.Tensor) -> torch.Tensor:
        sequences = sequences.to(next(self.gru.parameters()).dtype)
        states, _ = self.gru(sequences[..., :-1])
        there = sequences[..., -1]
        last = (there.sum(dim=1).long() - 1).clamp(min=0)
        state = states[torch.arange(len(states), device=states.device), last]
        return state * there.any(dim=1, keepdim=True)


class Memory(nn.Module):
    """A recurrent cell over time, reset where an episode starts.

    Args:
        kind: "gru" (Cho et al. 2014) or "lstm" (Hochreiter & Schmidhuber 1997).
        inputs: size of the input of a step.
        hidden_size: size of the output; also `features`.

    The state is one tensor (batch, `state_size`): the output of a GRU, output and cell of an LSTM.
    """

    def __init__(self, kind: str, inputs: int, hidden_size: int) -> None:
        super().__init__()
        self.cell: nn.GRUCell | nn.LSTMCell = (
            nn.GRUCell(inputs, hidden_size) if kind == "gru" else nn.LSTMCell(inputs, hidden_size)
        )
        self.features = hidden_size
        self.state_size = hidden_size if kind == "gru" else 2 * hidden_size

    def forward(
        self, inputs: torch.Tensor, starts: torch.Tensor, state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Step through time.

        Args:
            inputs: (time, batch, inputs)
            starts: (time, batch) bool; True resets the state to zero before the step.
            state: (batch, state_size) before the first step.

        Returns:
            Outputs (time, batch, hidden) and the state after the last step.
        """
        outputs = []
        for x, start in zip(inputs, starts, strict=True):
            state = state.masked_fill(start.unsqueeze(1), 0.0)
            if isinstance(self.cell, nn.GRUCell):
                state = self.cell(x, state)
                outputs.append(state)
            else:
                output, cell = self.cell(x, state.chunk(2, dim=1))
                state = torch.cat([output, cell], dim=1)
                outputs.append(output)
        return torch.stack(outputs), state
