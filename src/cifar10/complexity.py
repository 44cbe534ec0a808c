"""What a network costs and sees, counted from its modules."""

import torch
from torch import Tensor, nn


def count_parameters(model: nn.Module) -> int:
    """Trainable parameters, BatchNorm's scale and shift included."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def receptive_field(model: nn.Module) -> int:
    """Side, in pixels, of the square of input that reaches one output of a chain of convolutions and poolings."""
    size, jump = 1, 1  # jump: distance, in input pixels, between two neighbouring positions of the current map
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            size += (module.kernel_size[0] - 1) * module.dilation[0] * jump
            jump *= module.stride[0]
        elif isinstance(module, nn.AvgPool2d):
            size += (int(module.kernel_size) - 1) * jump  # type: ignore[arg-type]
            jump *= int(module.stride)  # type: ignore[arg-type]
    return size


def multiply_adds(model: nn.Module, image_size: int = 32) -> int:
    """Multiply-adds of the convolutions for one image (3, image_size, image_size), padding counted."""
    total = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += output.numel() * module.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d)]
    parameter = next(model.parameters())
    training = model.training
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, image_size, image_size, device=parameter.device, dtype=parameter.dtype))
    model.train(training)
    for hook in hooks:
        hook.remove()
    return total
