"""GenRep's pairs of generated images and its loss, against their formulas."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from structgan import train


@pytest.mark.parametrize("std", [0.0, 0.4])
def test_pairs_are_images_of_latents_and_of_their_neighbors(make_run, digits, std):
    """Literally: anchor G(w), positive G(w + std n), one at a time, in 8 bits."""
    method = train.Run(make_run("genrep", settings={"latent_std": std}), digits, "cpu").method
    method.rng.manual_seed(5)
    drawn = torch.Generator().manual_seed(5)
    latents, steps = (torch.randn(6, 16, generator=drawn).double() for _ in range(2))
    generator = copy.deepcopy(method.upstream.sampler).double()
    expected: list[list[np.ndarray]] = [[], []]
    for w, n in zip(latents, steps, strict=True):
        for place, latent in enumerate((w, w + std * n)):
            image = generator(latent[None])[0].detach().numpy()
            expected[place].append(np.clip(np.round(255 * (image + 1) / 2), 0, 255))
    pair = method.positives(6)
    for found, images in zip(pair, expected, strict=True):
        assert found.dtype == torch.uint8 and found.shape == (6, 3, 16, 16)
        difference = np.abs(found.numpy().astype(float) - np.stack(images))
        assert difference.max() <= 1 and difference.mean() < 0.01  # a float32 beside a rounding's edge
    assert torch.equal(*pair) == (std == 0)


@pytest.mark.parametrize("augmentation", ["none", "simclr"])
def test_loss_is_nt_xent_of_the_pairs_under_the_runs_regime(make_run, digits, augmentation):
    """-log exp(s_ij / t) / sum over all other images, mean over the 2N images; views of the regime, drawn in turn."""
    runs = [train.Run(make_run("genrep", augmentation=augmentation), digits, "cpu") for _ in range(2)]
    (views, _), _ = (next(run.batches) for run in runs)
    method = runs[1].method.train()
    pair = [runs[1].batches.view(images) for images in method.positives(len(views[0]))]
    if augmentation == "none":
        levels = (torch.cat(pair) + 1) * 127.5
        assert torch.allclose(levels, levels.round(), rtol=0, atol=1e-4) and 0 <= levels.min() < levels.max() <= 255.1
    z = F.normalize(method.head(method.encoder(torch.cat(pair))), dim=1).double()
    total, n = 0.0, len(views[0])
    for i in range(2 * n):
        scores = {j: (z[i] @ z[j] / method.settings["temperature"]).exp() for j in range(2 * n) if j != i}
        total -= (scores[(i + n) % (2 * n)] / sum(scores.values())).log() / (2 * n)
    loss = runs[0].method.train().step(views, None)["nt_xent"]
    assert loss.item() == pytest.approx(total.item(), rel=1e-4)
