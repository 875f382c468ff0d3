"""The discriminator and the spectral norm of its Jacobian as METHOD words them, in plain operations, for comparison."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def group_norm(x, groups, weight, bias, eps=1e-5):
    """(x - mean) / sqrt(var + eps) over the channels of a group and all pixels, then scale and shift."""
    rows = x.reshape(len(x), groups, -1)
    rows = (rows - rows.mean(2, keepdim=True)) / (rows.var(2, keepdim=True, correction=0) + eps).sqrt()
    return rows.reshape(x.shape) * weight[:, None, None] + bias[:, None, None]


def embed(net, parameters, images):
    """e = P(E(x)) from ``parameters`` of a Discriminator ``net``, whose own layers are only read for their shape."""
    names = {module: name for name, module in net.named_modules()}

    def get(module, key):
        return parameters.get(f"{names[module]}.{key}")

    def conv(module, x):
        return F.conv2d(x, get(module, "weight"), get(module, "bias"), padding=module.kernel_size[0] // 2)

    def norm(module, x):
        return group_norm(x, module.num_groups, get(module, "weight"), get(module, "bias"))

    x = F.elu(conv(net.backbone.stem[0], images))
    if images.shape[-1] > 48:
        x = F.avg_pool2d(x, 4 if images.shape[-1] > 96 else 2)
    for block in net.backbone.layers:
        first, second = [m for m in block.body if isinstance(m, nn.Conv2d)]
        halve = names[block.body[0]] and not isinstance(block.body[0], nn.Conv2d)
        source = F.avg_pool2d(x, 2) if halve else x
        y = norm(block.body[-1], conv(second, F.elu(conv(first, source))))
        if len(block.shortcut):
            short, short_norm = [m for m in block.shortcut if isinstance(m, nn.Conv2d | nn.GroupNorm)]
            source = norm(short_norm, conv(short, source))
        x = F.elu(y + source)
    h = x.mean((2, 3))
    for module in net.projection:
        h = F.linear(h, get(module, "weight"), get(module, "bias")) if isinstance(module, nn.Linear) else F.elu(h)
    return h


def sigma(net, parameters, image, left):
    """|J v| with v = J^T u / |J^T u| held constant, of one image alone. Shape: image (3, H, W), left u (C,)."""

    def function(x):
        return embed(net, parameters, x[None])[0]

    _, pull = torch.func.vjp(function, image)
    right = pull(left)[0]
    right = (right / right.norm()).detach()
    return torch.func.jvp(function, (image,), (right,))[1].norm()


def jacobian(net, parameters, image):
    """J = de/dx of one image. Shape: image (3, H, W) to (C, 3HW)."""
    return torch.func.jacrev(lambda x: embed(net, parameters, x[None])[0])(image).flatten(1)
