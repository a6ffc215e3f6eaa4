"""Data sets in memory, in the form of PyTorch's `Dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset


def rows_of(dataset: Dataset[Any]) -> list[Any]:
    """All examples of a data set."""
    return [dataset[index] for index in range(len(dataset))]  # type: ignore[arg-type]


class Rows(Dataset[Any]):
    """A list of examples of any kind, such as sentences."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


class Tensors(Dataset[Any]):
    """Examples as rows of tensors: a batch is sliced in one step, never put together row by row."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        if len({len(tensor) for tensor in tensors}) != 1:
            raise ValueError("the tensors differ in length")
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """A batch, which needs no collating."""
        chosen = torch.tensor(indices)
        return tuple(tensor[chosen] for tensor in self.tensors)

    @staticmethod
    def collate(batch: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """What `__getitems__` gives already is the batch."""
        return batch
