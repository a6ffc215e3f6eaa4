"""Recurrent networks: over padded sequences, an encoder of sequences, and a memory over the steps of an episode."""

from typing import ClassVar, Literal

import torch
from torch import nn


class PaddedRNN(nn.Module):
    """States of padded sequences by a recurrent network, in one direction or both; padding changes no state.

    The other direction reads each sequence reversed within its length. PyTorch's packed sequences do the same, but
    take several times as long to learn on a processor.

    Args:
        kind: "rnn" (Elman 1990), "lstm" (Hochreiter & Schmidhuber 1997) or "gru" (Cho et al. 2014).
        inputs: size of an element.
        hidden_size: units in each direction.
        layers: each reads the states of the one before.
        dropout: probability, between layers.
    """

    def __init__(
        self,
        kind: Literal["rnn", "lstm", "gru"],
        inputs: int,
        hidden_size: int,
        layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        cell = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind]
        self.features = hidden_size * (2 if bidirectional else 1)
        """Size of a state."""
        sizes = [inputs, *[self.features] * (layers - 1)]
        self.ahead = nn.ModuleList(cell(size, hidden_size, batch_first=True) for size in sizes)
        self.back = nn.ModuleList(
            cell(size, hidden_size, batch_first=True) for size in sizes if bidirectional
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, sequences: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """States (batch, longest, features), those after the end without a meaning.

        Args:
            sequences: (batch, longest, inputs) float.
            lengths: (batch,) int64.
        """
        places = torch.arange(sequences.shape[1], device=sequences.device)
        last = lengths.unsqueeze(1) - 1
        mirrored = torch.where(places <= last, last - places, places).unsqueeze(2)
        x = sequences
        for number, ahead in enumerate(self.ahead):
            x = self.dropout(x) if number else x
            states = [ahead(x)[0]]
            if self.back:
                reverse = self.back[number](x.gather(1, mirrored.expand_as(x)))[0]
                states.append(reverse.gather(1, mirrored.expand_as(reverse)))
            x = torch.cat(states, dim=2)
        return x


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
