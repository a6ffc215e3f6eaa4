from typing import Any

import pytest
import torch
from torch import nn

from perception.networks.rnn import Memory, PaddedRNN


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_of_padded_sequences_are_those_of_pytorch_s_packed_ones(
    kind: Any, bidirectional: bool
) -> None:
    torch.manual_seed(0)
    network = PaddedRNN(kind, 3, 5, 2, bidirectional)
    whole = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind](
        3, 5, 2, batch_first=True, bidirectional=bidirectional
    )
    for layer, ahead in enumerate(network.ahead):
        directions = (
            [(ahead, ""), (network.back[layer], "_reverse")] if bidirectional else [(ahead, "")]
        )
        for one, ending in directions:
            for name, weights in one.named_parameters():
                getattr(whole, name.replace("l0", f"l{layer}") + ending).data.copy_(weights)
    sequences, lengths = torch.randn(3, 6, 3), torch.tensor([4, 6, 1])
    packed = nn.utils.rnn.pack_padded_sequence(sequences, lengths, True, enforce_sorted=False)
    wanted, _ = nn.utils.rnn.pad_packed_sequence(whole(packed)[0], True)
    states = network(sequences, lengths)
    assert states.shape == (3, 6, network.features)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(states[row, :length], wanted[row, :length])


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_memory_in_pieces_is_memory_in_one(kind: str) -> None:
    torch.manual_seed(0)
    memory = Memory(kind, 3, 5)
    inputs, starts = torch.rand(6, 2, 3), torch.zeros(6, 2, dtype=torch.bool)
    whole, state = memory(inputs, starts, torch.zeros(2, memory.state_size))
    first, between = memory(inputs[:4], starts[:4], torch.zeros(2, memory.state_size))
    second, after = memory(inputs[4:], starts[4:], between)
    torch.testing.assert_close(whole, torch.cat([first, second]))
    torch.testing.assert_close(state, after)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_nothing_is_remembered_across_the_start_of_an_episode(kind: str) -> None:
    torch.manual_seed(0)
    memory = Memory(kind, 3, 5)
    inputs, starts = torch.rand(4, 2, 3), torch.zeros(4, 2, dtype=torch.bool)
    starts[2, 0] = True
    outputs, _ = memory(inputs, starts, torch.zeros(2, memory.state_size))
    afresh, _ = memory(inputs[2:], starts[2:], torch.zeros(2, memory.state_size))
    torch.testing.assert_close(outputs[2:, 0], afresh[:, 0])
    assert not torch.allclose(outputs[2:, 1], afresh[:, 1])


def test_an_lstm_is_torch_s_own() -> None:
    torch.manual_seed(0)
    memory = Memory("lstm", 3, 5)
    lstm = torch.nn.LSTM(3, 5)
    cell = dict(memory.cell.named_parameters())
    lstm.load_state_dict({f"{name}_l0": value for name, value in cell.items()})
    inputs = torch.rand(7, 2, 3)
    outputs, _ = memory(inputs, torch.zeros(7, 2, dtype=torch.bool), torch.zeros(2, 10))
    torch.testing.assert_close(outputs, lstm(inputs)[0])
