"""Outputs and gradients of the kernels beside those of the PyTorch form that they replace, in float32."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from structgan.kernels import batch_norm, elu, group_norm

Tensors = tuple[Tensor, ...]
Form = Callable[..., Tensors]
NORMS = [((3, 12, 5, 7), 2, True, True), ((1, 32, 24, 24), 2, False, False)]
"""Shape, groups, whether a shortcut is added, whether ELU follows; few, because a GPU's first step waits for them."""
BATCHES = [((4, 12, 5, 7), 2)]
"""Shape, and images of a group."""


def norm_forms(groups: int, add: bool, bent: bool) -> tuple[Form, Form]:
    """GroupNorm, sum and ELU of a value and a tangent, fused and in PyTorch."""

    def value(x: Tensor, shortcut: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y = F.group_norm(x.contiguous(), groups, weight, bias)
        y = y + shortcut if add else y
        return F.elu(y) if bent else y

    def plain(x: Tensor, shortcut: Tensor, t: Tensor, t_shortcut: Tensor, weight: Tensor, bias: Tensor) -> Tensors:
        return torch.func.jvp(lambda x, shortcut: value(x, shortcut, weight, bias), (x, shortcut), (t, t_shortcut))

    def fused(x: Tensor, shortcut: Tensor, t: Tensor, t_shortcut: Tensor, weight: Tensor, bias: Tensor) -> Tensors:
        other, along = (shortcut, t_shortcut) if add else (None, None)
        y, mean, r = group_norm.Value.apply(x, other, weight, bias, groups, 1e-5, bent)
        return y, group_norm.Tangent.apply(t, along, x, y if bent else None, weight, mean, r)

    return fused, plain


def elu_forms() -> tuple[Form, Form]:
    """ELU of a value, and of a tangent."""

    def fused(x: Tensor, t: Tensor) -> Tensors:
        y = F.elu(x)
        return y, elu.Tangent.apply(t, y)

    return fused, lambda x, t: torch.func.jvp(F.elu, (x,), (t,))


def batch_forms(size: int) -> tuple[Form, Form]:
    """Conditional batch norm of groups of images, and ReLU."""

    def fused(x: Tensor, gain: Tensor, bias: Tensor) -> Tensors:
        return batch_norm.ConditionalReLU.apply(x, gain, bias, size, 1e-5)[:1]

    def plain(x: Tensor, gain: Tensor, bias: Tensor) -> Tensors:
        z = torch.cat([F.batch_norm(part, None, None, training=True) for part in torch.split(x, size)])
        return (F.relu(bias[:, :, None, None] + z * (1 + gain[:, :, None, None])),)

    return fused, plain


def cases(device: str, dtype: torch.dtype) -> Iterator[tuple[str, tuple[Form, Form], Tensors]]:
    """Each pair of forms with arguments."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int, of: torch.dtype = dtype) -> Tensor:
        layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
        return torch.randn(*shape, generator=generator).to(device, of).contiguous(memory_format=layout)

    for shape, groups, add, bent in NORMS:
        parameters = [draw(shape[1], of=torch.float32) for _ in range(2)]
        yield f"group norm of {shape}", norm_forms(groups, add, bent), (*(draw(*shape) for _ in range(4)), *parameters)
    for shape, size in BATCHES:
        yield f"batch norm of {shape}", batch_forms(size), (draw(*shape), draw(*shape[:2]), draw(*shape[:2]))
    yield "ELU", elu_forms(), (draw(3, 5, 7, 11), draw(3, 5, 7, 11))


def gradients(form: Form, arguments: Tensors) -> list[Tensor]:
    """Outputs, and gradients of all arguments, of a weighted sum of the outputs."""
    given = [argument.clone().requires_grad_(True) for argument in arguments]
    outputs = form(*given)
    generator = torch.Generator().manual_seed(1)
    total = sum((out.float() * torch.randn(out.shape, generator=generator).to(out.device)).sum() for out in outputs)
    found = torch.autograd.grad(total, given, allow_unused=True)  # type: ignore[arg-type]
    return [*(out.detach() for out in outputs), *(gradient for gradient in found if gradient is not None)]


def disagreement(device: str, dtype: torch.dtype, cosine: float) -> str:
    """Which kernel's outputs or gradients are not those of PyTorch; empty where all agree."""
    for name, forms, arguments in cases(device, dtype):
        fused, plain = gradients(forms[0], arguments), gradients(forms[1], tuple(one.float() for one in arguments))
        for ours, theirs in zip(fused, plain, strict=True):
            found = float(F.cosine_similarity(ours.double().flatten(), theirs.double().flatten(), dim=0))
            if not found > cosine:
                return f"{name}: cosine {found:.5f} with PyTorch's form, {cosine} is needed"
    return ""
