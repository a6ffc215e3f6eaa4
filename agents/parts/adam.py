"""Adam (Kingma & Ba 2015) as a function of tensors, so that it compiles into one graph with the update.

On processors with bfloat16, networks for images compute with a bfloat16 copy of the weights, while Adam
updates the float32 originals (Micikevicius et al. 2018, "Mixed precision training").
"""

import math
from collections.abc import Callable, Collection

import torch
from torch import nn
from torch.func import grad_and_value

BETA1, BETA2 = 0.9, 0.999  # decay of the moments

Tensors = dict[str, torch.Tensor]


class Adam:
    """The weights of a network and their moments.

    Args:
        network: its parameters become `weights`.
        epsilon: added to the root of the second moment.
        precision: of the computation in modules named `encoder…`. The heads stay in float32: bfloat16
            cannot distinguish 1.500 from 1.505, and values differ by less.
        frozen: names of parameters that are never changed.
    """

    def __init__(
        self,
        network: nn.Module,
        epsilon: float,
        precision: torch.dtype,
        frozen: Collection[str] = (),
    ) -> None:
        self.epsilon = epsilon
        self.frozen = frozenset(frozen)
        self.weights: Tensors = {name: p.detach() for name, p in network.named_parameters()}
        self.compute_params: Tensors = {
            name: w.to(precision if name.startswith("encoder") else torch.float32)
            for name, w in self.weights.items()
        }
        """The weights in the precision of the computation; the same tensors where that is float32."""
        self.exp_avg: Tensors = {name: torch.zeros_like(w) for name, w in self.weights.items()}
        self.exp_avg_sq: Tensors = {name: torch.zeros_like(w) for name, w in self.weights.items()}

    def step_scalars(self, learning_rate: float, update: int) -> torch.Tensor:
        """(2,) bias-corrected step size and scale of the second moment's root at update number `update`,
        from 1 (section 2, last lines). A tensor, so that compiled code does not depend on the number."""
        rate = learning_rate / (1 - BETA1**update)
        device = next(iter(self.weights.values())).device
        return torch.tensor([rate, 1 / math.sqrt(1 - BETA2**update)], device=device)

    def step(self, gradients: Tensors, step_scalars: torch.Tensor) -> None:
        """Update every weight that is not frozen."""
        rate, scale = step_scalars
        names = [name for name in self.weights if name not in self.frozen]
        weights, exp_avg, exp_avg_sq = (
            [part[name] for name in names] for part in (self.weights, self.exp_avg, self.exp_avg_sq)
        )
        float_gradients = [gradients[name].float() for name in names]
        # One call for all tensors: the update of a small network is mostly overhead of calls.
        torch._foreach_lerp_(exp_avg, float_gradients, 1 - BETA1)
        torch._foreach_mul_(exp_avg_sq, BETA2)
        torch._foreach_addcmul_(exp_avg_sq, float_gradients, float_gradients, 1 - BETA2)
        divisors = torch._foreach_sqrt(exp_avg_sq)
        torch._foreach_mul_(divisors, scale)
        torch._foreach_add_(divisors, self.epsilon)
        changes = torch._foreach_div(exp_avg, divisors)
        torch._foreach_mul_(changes, rate)
        torch._foreach_sub_(weights, changes)
        if any(self.compute_params[name] is not self.weights[name] for name in names):
            torch._foreach_copy_([self.compute_params[name] for name in names], weights)

    def moments(self) -> Tensors:
        """Both moments by name."""
        return {
            f"{group}.{name}": moment
            for group, part in (("exp_avg", self.exp_avg), ("exp_avg_sq", self.exp_avg_sq))
            for name, moment in part.items()
        }

    def load(self, weights: Tensors, moments: Tensors | None) -> None:
        """Restore the weights and, if given, the moments.

        Raises:
            ValueError: they are of another network.
        """
        copy_into(weights, self.weights)
        copy_into(self.weights, self.compute_params)
        if moments is not None:
            copy_into(moments, self.moments())


def gradients_of(
    loss_of: Callable[[Tensors], tuple[torch.Tensor, torch.Tensor]],
    weights: Tensors,
    frozen: Collection[str] = (),
) -> tuple[Tensors, torch.Tensor, torch.Tensor]:
    """Gradients of a loss with respect to the weights.

    `torch.func` compiles into one graph with the rest of an update; plain autograd is faster uncompiled.

    Args:
        loss_of: takes all weights; returns the loss and an auxiliary tensor.
        frozen: names of weights that no gradient is computed for.

    Returns:
        the gradients, the loss and the auxiliary tensor.
    """
    fixed = {name: w for name, w in weights.items() if name in frozen}
    learning = {name: w for name, w in weights.items() if name not in frozen}
    if torch.compiler.is_compiling():
        gradients, (loss, auxiliary) = grad_and_value(
            lambda some: loss_of(fixed | some), has_aux=True
        )(learning)
        return gradients, loss, auxiliary
    leaves = {name: w.detach().requires_grad_() for name, w in learning.items()}
    loss, auxiliary = loss_of({name: w.detach() for name, w in fixed.items()} | leaves)
    result = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, result, strict=True)), loss.detach(), auxiliary.detach()


def clip_by_global_norm(gradients: Tensors, norm: float) -> Tensors:
    """Gradients scaled down by one factor if their global norm is above `norm` (Pascanu et al. 2013)."""
    float_gradients = [g.float() for g in gradients.values()]
    global_norm = torch.stack([torch.linalg.vector_norm(g) for g in float_gradients]).norm()
    factor = (norm / (global_norm + 1e-6)).clamp(max=1.0)
    return dict(zip(gradients, torch._foreach_mul(float_gradients, factor), strict=True))


def copy_into(source: Tensors, destination: Tensors) -> None:
    """Copy tensors in place into those of the same names.

    Raises:
        ValueError: names or shapes differ.
    """
    fits = source.keys() == destination.keys() and all(
        source[name].shape == tensor.shape for name, tensor in destination.items()
    )
    if not fits:
        raise ValueError("its network is not the one of this environment and these hyperparameters")
    for name, tensor in destination.items():
        tensor.copy_(source[name])
