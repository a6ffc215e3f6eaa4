"""The neural Turing machine."""

import torch

from perception.networks.turing import TuringMachine


def test_heads_are_distributions_and_the_memory_may_grow() -> None:
    torch.manual_seed(0)
    machine = TuringMachine(3, 2, 8, places=6, width=4)
    inputs = torch.randn(5, 2, 3)
    outputs, heads = machine(inputs)
    assert outputs.shape == (5, 2, 2)
    assert heads.shape == (5, 2, 2, 6)
    assert torch.allclose(heads.sum(dim=3), torch.ones(5, 2, 2), atol=1e-5)
    outputs.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in machine.parameters())
    machine.places = 9
    assert machine(inputs)[1].shape == (5, 2, 2, 9)


def test_a_head_that_only_shifts_goes_round_the_memory() -> None:
    machine = TuringMachine(1, 1, 2, places=4, width=3)
    keys, parts, positive, _ = machine.sizes
    with torch.no_grad():
        for parameter in machine.parameters():
            parameter.zero_()
        gate = keys + 3
        machine.heads.bias[gate : gate + 2] = -50  # stay where the last step was
        shift = keys + parts + positive
        machine.heads.bias[shift + 2] = 50  # the writing head: one place back
        machine.heads.bias[shift + 3] = 50  # the reading head: one place on
        _, heads = machine(torch.zeros(5, 1, 1))
    assert heads[:, 0, 0].argmax(dim=1).tolist() == [3, 2, 1, 0, 3]
    assert heads[:, 0, 1].argmax(dim=1).tolist() == [1, 2, 3, 0, 1]
