"""Methods whose tensors pretend to lie on a GPU, or have no content at all, so that no GPU is needed to follow a step.

``cuda``: PyTorch's fake tensors with CUDA autocast switched on. Types and devices are those of a real GPU, and an
operation whose shape or whose next line of Python depends on content fails: on a GPU it would wait. A backward cannot
run there (it asks for a real CUDA context), so that ``backward`` and ``grad`` do nothing and optimizers stand still.
``meta``: tensors without content, backward and optimizers included, but without autocast, which that device lacks.
"""

import contextlib
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks import settings
from structgan import augment, method

PAPER, SIZE, BATCH = settings.read(), 16, 8
REGIMES = {"cuda": "crop", "meta": "simclr"}
"""The full recipe picks images by draws on the CPU, which no GPU waits for, but which are fake too on the former."""


torch_multinomial = torch.multinomial


class Source:
    """Stands for the generator of random numbers of a device that is not there."""

    def __init__(self, device):
        self.device = torch.device(device)


def small(name):
    """A method on the CPU with every size at a test's size."""
    torch.manual_seed(0)
    return method.find(name)(settings.shrink(PAPER["methods"][name]["settings"]), SIZE, 10, 100)


def move(network, device):
    """Give a network parameters and buffers of the same form on a device; ``Module.to`` cannot do that there."""
    for module in network.modules():
        for group in (module._parameters, module._buffers):
            for name, value in group.items():
                if value is not None:
                    other = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device)
                    parameter = isinstance(value, torch.nn.Parameter)
                    group[name] = torch.nn.Parameter(other, value.requires_grad) if parameter else other


def drawn(function, device):
    """A function that draws random numbers, for a ``Source`` too."""

    def draw(*arguments, generator=None, **keywords):
        if isinstance(generator, Source):
            where = {} if function is torch_multinomial else {"device": device}
            return function(*arguments, **(keywords | where))
        return function(*arguments, generator=generator, **keywords)

    return draw


def no_gradient(outputs, inputs, *_, **__):
    return tuple(map(torch.empty_like, inputs if isinstance(inputs, list | tuple) else [inputs]))


def update_one_by_one(optimizer):
    """Let an optimizer, which was built for parameters elsewhere, update those of the moved method."""
    for group in optimizer.param_groups:
        group.update({key: False for key in ("fused", "foreach") if key in group})


@contextlib.contextmanager
def pretending(name, device):
    """A method on ``cuda`` or ``meta``, ready to step, the images of a step, and their labels where it uses them."""
    made, upstream = small(name), small("plain_gan") if name == "genrep" else None
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        if device == "cuda":
            enter(mock.patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False))
            enter(mock.patch("torch.cuda.is_bf16_supported", lambda *_: True))
            enter(FakeTensorMode(allow_non_fake_inputs=True))
            enter(mock.patch.object(torch.Tensor, "backward", lambda *_, **__: None))
            enter(mock.patch("torch.autograd.grad", no_gradient))
        else:
            enter(mock.patch("torch.autocast", lambda *_, **__: contextlib.nullcontext()))
        for function in ("rand", "randn", "randint", "randperm", "multinomial"):
            enter(mock.patch(f"torch.{function}", drawn(getattr(torch, function), device)))
        old = dict(made.named_parameters())
        move(made, device)
        new = {old[key]: value for key, value in made.named_parameters()}
        for optimizer in made.optimizers().values():
            for group in optimizer.param_groups:
                group["params"] = [new[parameter] for parameter in group["params"]]
            update_one_by_one(optimizer)
            if device == "cuda":
                enter(mock.patch.object(optimizer, "step", lambda *_, **__: None))
        if upstream is not None:
            move(upstream, device)
            made.attach(upstream.eval())
        rng = torch.Generator().manual_seed(0)
        regime = augment.build(PAPER["augmentations"][REGIMES[device]], SIZE)
        made.rng, made.step_index = Source(device), 1  # not 0, where the self-conditioned GAN asks scikit-learn
        made.transform = lambda images: regime(images, rng)
        made.images = torch.empty(128, 3, SIZE, SIZE, dtype=torch.uint8, device=device)
        views = [made.transform(made.images[:BATCH]) for _ in range(made.views)]
        labels = torch.empty(BATCH, dtype=torch.long, device=device) if made.uses_labels else None
        yield made.train(), views, labels
