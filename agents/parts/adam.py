"""Adam (Kingma & Ba 2015) as a plain function of tensors, so that it compiles into the update's graph.

On processors that have bfloat16, networks for images compute on a bfloat16 copy of their weights, of
which Adam moves the float32 originals (Micikevicius et al. 2018, "Mixed precision training").
"""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.func import grad_and_value

BETA1, BETA2 = 0.9, 0.999  # decay of the moments

Tensors = dict[str, torch.Tensor]


class Adam:
    """A network's weights and their moments.

    Args:
        network: whose parameters are learnt; they are `weights` from now on.
        epsilon: added to the root of the second moment.
        precision: what the parts of the network under `encoder.` compute in. The heads stay exact:
            bfloat16 cannot tell 1.500 from 1.505, and values differ by less.
    """

    def __init__(self, network: nn.Module, epsilon: float, precision: torch.dtype) -> None:
        self.epsilon = epsilon
        self.weights: Tensors = {name: p.detach() for name, p in network.named_parameters()}
        self.compute_params: Tensors = {
            name: w.to(precision if name.startswith("encoder") else torch.float32)
            for name, w in self.weights.items()
        }
        """The weights as the network computes with them; where that is float32, they themselves."""
        self.exp_avg: Tensors = {name: torch.zeros_like(w) for name, w in self.weights.items()}
        self.exp_avg_sq: Tensors = {name: torch.zeros_like(w) for name, w in self.weights.items()}

    def step_scalars(self, learning_rate: float, update: int) -> torch.Tensor:
        """What `step` needs to know of update number `update` (from 1), as a tensor of constant
        shape: the step size and the scale of the second moment's root, corrected for the moments'
        start at zero (section 2, last lines)."""
        rate = learning_rate / (1 - BETA1**update)
        device = next(iter(self.weights.values())).device
        return torch.tensor([rate, 1 / math.sqrt(1 - BETA2**update)], device=device)

    def step(self, gradients: Tensors, step_scalars: torch.Tensor) -> None:
        """Move every weight down its gradient."""
        rate, scale = step_scalars
        weights, exp_avg, exp_avg_sq = (
            list(part.values()) for part in (self.weights, self.exp_avg, self.exp_avg_sq)
        )
        slopes = [gradients[name].float() for name in self.weights]
        # All tensors in one call each: a small network's update is mostly calls.
        torch._foreach_lerp_(exp_avg, slopes, 1 - BETA1)
        torch._foreach_mul_(exp_avg_sq, BETA2)
        torch._foreach_addcmul_(exp_avg_sq, slopes, slopes, 1 - BETA2)
        divisors = torch._foreach_sqrt(exp_avg_sq)
        torch._foreach_mul_(divisors, scale)
        torch._foreach_add_(divisors, self.epsilon)
        changes = torch._foreach_div(exp_avg, divisors)
        torch._foreach_mul_(changes, rate)
        torch._foreach_sub_(weights, changes)
        if any(self.compute_params[name] is not weight for name, weight in self.weights.items()):
            torch._foreach_copy_([self.compute_params[name] for name in self.weights], weights)

    def moments(self) -> Tensors:
        """Both moments by name, for a checkpoint."""
        return {
            f"{group}.{name}": moment
            for group, part in (("exp_avg", self.exp_avg), ("exp_avg_sq", self.exp_avg_sq))
            for name, moment in part.items()
        }

    def load(self, weights: Tensors, moments: Tensors | None) -> None:
        """Go back to the weights and, where a checkpoint has them, the moments.

        Raises:
            ValueError: the weights are another network's.
        """
        copy_into(weights, self.weights)
        copy_into(self.weights, self.compute_params)
        if moments is not None:
            copy_into(moments, self.moments())


def gradients_of(
    loss_of: Callable[[Tensors], tuple[torch.Tensor, torch.Tensor]], weights: Tensors
) -> tuple[Tensors, torch.Tensor, torch.Tensor]:
    """The gradients of a loss with respect to the weights, the loss, and what it gives beside it.

    Only `torch.func` can be compiled into one graph with the rest of an update, and only plain
    autograd is quick where nothing is compiled.
    """
    if torch.compiler.is_compiling():
        gradients, (loss, beside) = grad_and_value(loss_of, has_aux=True)(weights)
        return gradients, loss, beside
    leaves = {name: w.detach().requires_grad_() for name, w in weights.items()}
    loss, beside = loss_of(leaves)
    result = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, result, strict=True)), loss.detach(), beside.detach()


def clip_by_global_norm(gradients: Tensors, norm: float) -> Tensors:
    """The gradients, all scaled by one factor where they are longer together than `norm` (Pascanu
    et al. 2013)."""
    slopes = [g.float() for g in gradients.values()]
    length = torch.stack([torch.linalg.vector_norm(g) for g in slopes]).norm()
    factor = (norm / (length + 1e-6)).clamp(max=1.0)
    return dict(zip(gradients, torch._foreach_mul(slopes, factor), strict=True))


def copy_into(source: Tensors, destination: Tensors) -> None:
    """Copy tensors into those of the same names, which keep their places in memory.

    Raises:
        ValueError: names or shapes differ.
    """
    fits = source.keys() == destination.keys() and all(
        source[name].shape == tensor.shape for name, tensor in destination.items()
    )
    if not fits:
        raise ValueError("its network is not the one of this environment and these settings")
    for name, tensor in destination.items():
        tensor.copy_(source[name])


def image_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the device has instructions for it, else float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        fast = torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
