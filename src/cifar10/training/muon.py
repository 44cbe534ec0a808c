"""Optimize by Muon: momentum, then each update made orthogonal."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer


class Muon(Optimizer):
    """Run Muon on convolution weights (O, I, K, K), each used as a matrix (O, I*K*K).

    torch.optim.Muon always iterates in bf16, which a CPU without bf16 emulates, for a fifth of the step. This one
    iterates in fp32, on Gram matrices. Each weight is set to norm sqrt(O) before each step, so `lr` alone says how far
    a step turns it. The norm itself does not matter, because a BatchNorm follows.
    See Jordan, https://kellerjordan.github.io/posts/muon, and cifar10-airbench.
    """

    def __init__(self, weights: Sequence[Tensor], lr: float | Tensor, momentum: float) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            lr, momentum, weights = group["lr"], group["momentum"], group["params"]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
            gradients = [weight.grad for weight in weights]
            averages = [self.state[weight]["momentum_buffer"] for weight in weights]
            torch._foreach_lerp_(averages, gradients, 1 - momentum)
            updates = torch._foreach_lerp(gradients, averages, momentum)  # Nesterov's
            # channels_last: the matrix (O, K*K*I) lies in memory as it is; the order of columns does not matter.
            turned = orthogonalised([update.permute(0, 2, 3, 1).flatten(1) for update in updates])
            for weight, matrix in zip(weights, turned, strict=True):
                update = matrix.view(len(weight), *weight.shape[2:], -1).permute(0, 3, 1, 2)
                weight.mul_(len(weight) ** 0.5 / weight.norm())
                step = torch.as_tensor(-lr * max(1, len(weight) / weight[0].numel()) ** 0.5)  # lr may be a tensor
                weight.addcmul_(update, step)


def orthogonalised(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Bring the singular values of each matrix (M, N) near 1 by three rounds of Jordan's quintic iteration.

    cifar10-airbench has three rounds too. With torch's five an epoch took 13 % longer. A round multiplies a matrix by a
    polynomial of its Gram matrix (M, M), so three rounds are one product of such polynomials. It is computed from the
    Gram matrix alone, for all matrices of the same M at once.
    """
    wide = [matrix.T if matrix.shape[0] > matrix.shape[1] else matrix for matrix in matrices]
    grams: dict[int, list[Tensor]] = defaultdict(list)
    for x in wide:
        grams[len(x)].append(x @ x.T)
    factors = {size: iter(_three_rounds(torch.stack(group))) for size, group in grams.items()}
    turned = [next(factors[len(x)]) @ x for x in wide]
    return [y.T if x.shape[0] > x.shape[1] else y for x, y in zip(matrices, turned, strict=True)]


def _three_rounds(grams: Tensor) -> Tensor:
    """Return the factors (B, M, M) of matrices x whose Gram matrices x @ x.T are `grams` (B, M, M)."""
    squared_norms = grams.diagonal(dim1=1, dim2=2).sum(1)[:, None, None].clamp(min=1e-14)
    grams = grams / squared_norms
    first = _polynomial(grams)
    grams = first @ grams @ first  # of the matrices after the first round
    second = _polynomial(grams)
    third = _polynomial(second @ grams @ second)
    norms = squared_norms.double().sqrt().float()  # the last bit of MKL's float root depends on the processor
    return third @ second @ first / norms


def _polynomial(grams: Tensor) -> Tensor:
    """Return 3.4445 - 4.775 g + 2.0315 g² for each matrix g."""
    values = torch.baddbmm(grams, grams, grams, beta=-4.775, alpha=2.0315)
    values.diagonal(dim1=1, dim2=2).add_(3.4445)
    return values
