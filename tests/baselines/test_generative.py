"""The variational autoencoder and the denoising diffusion model: their losses, their samples, the game in both."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from snapshots import IMAGES
from tiny_networks import seeded

from structgan import config
from structgan import method as contract
from structgan.errors import UserError
from structgan.losses import gaussian

BOTH = ("ddpm", "vae")
REAL, N = IMAGES.double(), len(IMAGES)


@pytest.fixture
def build(demo):
    """A tiny method in training mode, all its weights moved from where they start; keywords change its settings."""

    def make(name, variant="base", **changes):
        torch.manual_seed(0)
        block = demo["methods"][name]
        settings = config.merge(block["settings"], block["variants"].get(variant, {}).get("settings", {}))
        run = {"method": name, "settings": {"dataset": {"image_size": 16}, "training": {"steps": 10}}}
        run["settings"]["method"] = config.merge(settings, changes)
        method = contract.build(run, 10).to(torch.get_default_dtype())
        with torch.no_grad():
            for p in method.parameters():
                p.add_(0.05 * torch.randn(p.shape, generator=seeded(p.numel())))
        method.rng = seeded(5)
        return method.train()

    return make


def compare(method, twin, logged, terms, objectives):
    """What a step logged and the gradients that it left, against terms and objectives of each part of a twin."""
    expected = {key: value.item() for key, value in terms.items()}
    assert {key: value.item() for key, value in logged.items()} == pytest.approx(expected, rel=1e-8)
    learning = {name: p for name, p in twin.named_parameters() if p.requires_grad}
    found = {name: p.grad for name, p in method.named_parameters() if p.grad is not None}
    assert found.keys() == {name for name in learning if name.startswith(tuple(objectives))}
    for part, objective in objectives.items():
        gradients = torch.autograd.grad(objective, list(learning.values()), retain_graph=True, allow_unused=True)
        largest = 0.0
        for name, gradient in zip(learning, gradients, strict=True):
            if name.startswith(part):
                assert torch.allclose(found[name], gradient, rtol=1e-6, atol=1e-10), name
                largest = max(largest, float(gradient.abs().max()))
        assert largest > 1e-5, part


def game(twin, features, made_average):
    """L of ``structgan.objectives`` in loops, and its three terms. Shape: features (2N, D)."""
    embeddings = twin.game.projection(features)
    z = torch.stack([e / e.norm() for e in embeddings])
    h = F.normalize(made_average, dim=1)
    pool_h, pool_z = torch.cat([h[:N], twin.game.bank.features]), torch.cat([z[:N], twin.game.bank.embeddings])
    closeness = []
    for i in range(2 * N):
        cosines = [-2.0 if j == i else float(h[i] @ pool_h[j]) for j in range(len(pool_h))]
        closeness.append(z[i] @ pool_z[int(np.argmax(cosines))])
    terms = {
        "gaussian": -gaussian.jsd(z[:N], z[N:], 0.5),
        "cluster": sum(closeness[N:]) / N - sum(closeness[:N]) / N,
        "hinge": sum((1 - e.norm()).clamp(min=0) ** 2 for e in embeddings[:N]) / N,
    }
    return terms["gaussian"] + 3 * terms["cluster"] + 20 * terms["hinge"], terms


@pytest.mark.parametrize("variant", ["base", "structural"])
def test_a_step_of_the_autoencoder_follows_the_bound_and_the_game(doubles, build, variant):
    """[-log p(x | w) + beta KL] / D, plus L for encoder and projection, minus r L for the decoder."""
    method, twin = (build("vae", variant, beta=0.7, objectives={"reversal": 0.2}) for _ in range(2))
    logged, latent = method.step([REAL], None), twin.latent
    made = twin.decoder(torch.randn(N, latent, generator=twin.rng)) if variant == "structural" else None
    mean, log_variance = twin.posterior(twin.backbone(REAL)).chunk(2, dim=1)
    decoded = twin.decoder(mean + (log_variance / 2).exp() * torch.randn(N, latent, generator=twin.rng))
    terms = {
        "kl": (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2 / N,
        "reconstruction": 0.5 * torch.log(2 * math.pi * (REAL - decoded).square().mean()) + 0.5,
    }
    bound = terms["reconstruction"] + 0.7 * terms["kl"] / (3 * 16 * 16)
    parts = {"backbone": bound, "posterior": bound, "decoder": bound}
    if made is not None:
        average = twin.encoder(torch.cat([REAL, made.detach()]))
        encoders, found = game(twin, twin.backbone(torch.cat([REAL, made.detach()])), average)
        decoders, _ = game(twin, twin.backbone(torch.cat([REAL, made])), average)
        parts = {"backbone": bound + encoders, "game": encoders, "posterior": bound, "decoder": bound - 0.2 * decoders}
        terms |= found
        assert torch.allclose(method.game.bank.features[:N], F.normalize(average[:N], dim=1))
    compare(method, twin, logged, terms, parts)


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
@pytest.mark.parametrize("variant", ["base", "structural"])
def test_a_step_of_the_diffusion_follows_its_loss_and_the_game(doubles, build, variant, prediction):
    """The mean squared error of the target, plus L for backbone and projection, minus r L for the way up."""
    changes = {"prediction": prediction, "denoised_from": 0.5, "objectives": {"reversal": 0.2}}
    method, twin = (build("ddpm", variant, **changes) for _ in range(2))
    logged, last = method.step([REAL], None), twin.settings["timesteps"]

    def noised(first):
        times = torch.randint(first, last + 1, (N,), generator=twin.rng)
        noise = torch.randn(REAL.shape, generator=twin.rng)
        a, b = (torch.tensor([table[int(t)] for t in times])[:, None, None, None] for table in scales)
        return times, noise, a * REAL + b * noise, a, b

    scales = twin.diffusion.signal, twin.diffusion.spread
    times, noise, noisy, a, b = noised(1)
    target = noise if prediction == "epsilon" else a * noise - b * REAL
    simple = (twin.denoiser(noisy, times) - target).square().mean()
    terms, way_up = {"denoising": simple}, ("time", "pooled", "middle", "ups", "norm", "last")
    parts = {f"denoiser.{part}": simple for part in ("backbone", *way_up)}
    if variant == "structural":
        times, _, noisy, a, b = noised(last // 2)
        output = twin.denoiser.up([x.detach() for x in twin.denoiser.down(noisy)], times)
        clean = (noisy - b * output) / a if prediction == "epsilon" else a * noisy - b * output
        made = clean.clamp(-1, 1)
        average = twin.encoder(torch.cat([REAL, made.detach()]))
        encoders, found = game(twin, twin.denoiser.backbone(torch.cat([REAL, made.detach()])), average)
        decoders, _ = game(twin, twin.denoiser.backbone(torch.cat([REAL, made])), average)
        parts = {f"denoiser.{part}": simple - 0.2 * decoders for part in way_up}
        parts |= {"denoiser.backbone": simple + encoders, "game": encoders}
        terms |= found
    compare(method, twin, logged, terms, parts)


@pytest.mark.parametrize("name", BOTH)
def test_a_term_without_weight_is_left_out(build, name):
    assert build(name).game is None
    weights = {"gaussian": {"weight": 0.0}, "cluster": {"weight": 0.0}, "hinge": {"weight": 0.0}}
    for term in ("gaussian", "cluster"):
        method = build(name, objectives=weights | {term: {"weight": 1.0}})
        assert ("cluster" in method.step([IMAGES], None)) == (term == "cluster")
        assert any(p.grad.abs().max() > 0 for p in method.game.projection.parameters())
    with pytest.raises(UserError, match=r"objectives\.cluster\.k = 7: .* = 7"):
        build(name, "structural", objectives={"cluster": {"bank": 0, "k": 7}}).step([IMAGES], None)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_samples_follow_the_steps_back_from_noise(build, eta):
    """Ho et al.'s and DDIM's loop as it stands, from the numbers of the given generator alone."""
    method = build("ddpm", sampling_steps=3, timesteps=9, eta=eta).eval()
    bars, draws = method.diffusion.abar, seeded(3)
    x = torch.randn(4, 3, 16, 16, generator=draws)
    with torch.no_grad():
        for t, s in ((9, 6), (6, 3), (3, 0)):
            v = method.generator_ema(x, torch.full((4,), t))
            clean = (math.sqrt(bars[t]) * x - math.sqrt(1 - bars[t]) * v).clamp(-1, 1)
            noise = (x - math.sqrt(bars[t]) * clean) / math.sqrt(1 - bars[t])
            sigma = eta * math.sqrt((1 - bars[s]) / (1 - bars[t]) * (1 - bars[t] / bars[s]))
            x = math.sqrt(bars[s]) * clean + math.sqrt(1 - bars[s] - sigma**2) * noise
            x = x + sigma * torch.randn(x.shape, generator=draws) if eta else x
    assert torch.allclose(method.sample(4, seeded(3)), x, atol=1e-5)
    with pytest.raises(UserError, match="sampling_steps = 10 must be at most timesteps = 9"):
        build("ddpm", sampling_steps=10, timesteps=9)
