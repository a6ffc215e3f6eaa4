"""The cliff of a recurrent network."""

import numpy as np
import pytest
import torch

from perception.tasks.clipping import clipping_picture, descent_path, recurrent_error


def test_the_error_is_that_of_a_recurrent_network_with_one_unit() -> None:
    w, b = 4.5, -2.0
    state = torch.tensor([0.5])
    for _ in range(50):
        state = w * torch.sigmoid(state) + b
    wanted = float((torch.sigmoid(state) - 0.7) ** 2)
    assert float(recurrent_error(torch.tensor([w, b]))) == pytest.approx(wanted)
    at_rest = torch.tensor([4.0, np.log(0.7 / 0.3) - 4.0 * 0.7])
    assert float(recurrent_error(at_rest)) < 1e-6, "0.7 is a fixed point"


def test_the_cliff_throws_gradient_descent_out_unless_the_gradient_is_clipped() -> None:
    (plain, norms), (clipped, _) = descent_path(None), descent_path(1.0)
    assert norms.max() > 10
    error = [float(recurrent_error(torch.tensor(path[-1]))) for path in (plain, clipped)]
    assert error[0] > 0.05
    assert error[1] < 1e-3
    assert np.linalg.norm(np.diff(clipped, axis=0), axis=1).max() <= 0.2 + 1e-9
    assert np.linalg.norm(plain[-1]) > 10


def test_the_picture_says_where_both_end() -> None:
    (legend,) = clipping_picture().legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert "at the minimum" in texts[0]
    assert "thrown to" in texts[1]
