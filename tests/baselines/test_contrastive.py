"""The contrastive and clustering baselines against their papers' pseudocode in NumPy."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from snapshots import IMAGES

from structgan import precision, train
from structgan.errors import UserError
from structgan.models.memory import ema_update_


def normalize(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def array(tensor):
    return tensor.detach().double().numpy()


@pytest.fixture
def started(make_run, digits):
    """A run in training mode before its first step: a copy of its method, the method, and its next views."""

    def start(name, settings=None, **training):
        run = train.Run(make_run(name, augmentation="simclr", settings=settings, **training), digits, "cpu")
        run.method.train()
        return copy.deepcopy(run.method), run, next(run.batches)[0]

    return start


def per_view(head, encoder, views):
    """What a head makes of each view, batch norms over one view at a time."""
    return [head(features) for features in encoder(torch.cat(views)).chunk(2)]


def nt_xent(z, t):
    """-log exp(s_ij / t) / sum over all other images, j the other view of i, the mean over the 2N views."""
    scores = np.exp(z @ z.T / t)
    np.fill_diagonal(scores, 0)
    n = len(z) // 2
    return -np.mean([np.log(scores[i, (i + n) % (2 * n)] / scores[i].sum()) for i in range(2 * n)])


def test_simclr_is_nt_xent_of_both_views(started):
    before, run, views = started("simclr")
    z = normalize(array(before.head(before.encoder(torch.cat(views)))))
    expected = nt_xent(z, before.settings["temperature"])
    assert run.method.step(views, None)["nt_xent"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("std", [0.0, 0.4])
def test_genrep_is_nt_xent_of_images_of_neighboring_latents(make_run, digits, std):
    """Anchor G(w), positive G(w + std n), one at a time and in 8 bits; then views of the run's own augmentation."""
    run = train.Run(make_run("genrep", augmentation="simclr", settings={"latent_std": std}), digits, "cpu")
    method, drawn = run.method.train(), torch.Generator().manual_seed(5)
    latents, steps = (torch.randn(6, 16, generator=drawn).double() for _ in range(2))
    generator = copy.deepcopy(method.upstream.sampler).double()
    state = method.rng.manual_seed(5).get_state()
    pair = method.positives(6)
    for found, inputs in zip(pair, (latents, latents + std * steps), strict=True):
        images = np.concatenate([array(generator(latent[None])) for latent in inputs])
        difference = np.abs(found.numpy() - np.clip(np.round(255 * (images + 1) / 2), 0, 255))
        assert found.dtype == torch.uint8 and difference.max() <= 1 and difference.mean() < 0.01  # rounding's edge
    assert torch.equal(*pair) == (std == 0)
    views_state = run.batches.rng.get_state()
    z = normalize(array(method.head(method.encoder(torch.cat([run.batches.view(images) for images in pair])))))
    method.rng.set_state(state)
    run.batches.rng.set_state(views_state)
    loss = method.step([torch.zeros(6, 3, 16, 16)], None)["nt_xent"]
    assert loss.item() == pytest.approx(nt_xent(z, method.settings["temperature"]), rel=1e-4)


def moco_algorithm_1(q, k, queue, t):
    """Cross-entropy of [q k+, q queue] / t against 0, as the paper's Algorithm 1 writes it."""
    l_pos = np.einsum("nc,nc->n", q, k)[:, None]
    l_neg = np.einsum("nc,ck->nk", q, queue.T)
    return -np.log(softmax(np.concatenate([l_pos, l_neg], axis=1) / t)[:, 0]).mean()


@pytest.mark.parametrize("symmetric", [True, False])
def test_moco_is_algorithm_1_in_each_direction(started, symmetric):
    before, run, views = started("moco", {"symmetric": symmetric})
    q1, q2 = (normalize(array(before.head(before.encoder(view)))) for view in views)
    k1, k2 = (normalize(array(before.head_ema(before.encoder_ema(view)))) for view in views)
    of_first, of_second = array(before.queue.features), array(before.queue.embeddings)
    t = before.settings["temperature"]
    expected = moco_algorithm_1(q1, k2, of_second, t)
    if symmetric:
        expected = (expected + moco_algorithm_1(q2, k1, of_first, t)) / 2
    assert run.method.step(views, None)["info_nce"].item() == pytest.approx(expected, rel=1e-5)
    queue = run.method.queue
    np.testing.assert_allclose(queue.embeddings[:16].numpy(), k2, atol=1e-5)
    np.testing.assert_allclose(queue.features[:16].numpy(), k1 if symmetric else k2, atol=1e-5)
    assert torch.equal(queue.embeddings[16:], before.queue.embeddings[16:]) and int(queue.position) == 16


AVERAGES = {"moco": ("{}_ema", "head"), "byol": ("target_{}", "projector")}


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_follow_with_a_decay_on_a_cosine(started, name):
    """1 - (1 - start) (cos(pi k / K) + 1) / 2 (BYOL, section 3.1), with K the intervals between steps."""
    form, head = AVERAGES[name]
    settings = {"ema": {"start_value": 0.6, "end_value": 1.0}}
    before, run, views = started(name, settings, steps=5)
    run.method.step_index = 1
    run.method.step(views, None)
    decay = 1 - 0.4 * (math.cos(math.pi / 4) + 1) / 2
    for part in ("encoder", head):
        mine, theirs = (getattr(method, form.format(part)) for method in (before, run.method))
        ema_update_(mine, getattr(run.method, part), decay)
        for ours, average in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert torch.allclose(ours, average, atol=1e-6) and not average.requires_grad
    run.method.step_index = 4
    average = getattr(run.method, form.format("encoder"))
    still = [p.clone() for p in average.parameters()]
    run.method.step(views, None)
    assert all(map(torch.equal, still, average.parameters()))


def sinkhorn(scores, eps, niters):
    """SwAV, Appendix A.1: rows of Q are prototypes, columns are samples."""
    q = np.exp(scores / eps).T
    q /= q.sum()
    k, b = q.shape
    r, c = np.ones(k) / k, np.ones(b) / b
    for _ in range(niters):
        q *= (r / q.sum(axis=1))[:, None]
        q *= (c / q.sum(axis=0))[None, :]
    return (q / q.sum(axis=0, keepdims=True)).T


def swapped(z1, z2, prototypes, settings, queues):
    """The paper's pseudocode: -0.5 mean(q1 log p2 + q2 log p1); queued embeddings take part in the codes alone."""
    scores, options = [z @ prototypes.T for z in (z1, z2)], settings["sinkhorn"]
    stacked = [np.concatenate([s, q @ prototypes.T]) for s, q in zip(scores, queues, strict=True)]
    codes = [sinkhorn(s, options["epsilon"], options["iterations"])[: len(z1)] for s in stacked]
    p1, p2 = (softmax(s / settings["temperature"]) for s in scores)
    return -0.5 * (codes[0] * np.log(p2) + codes[1] * np.log(p1)).sum(1).mean()


@pytest.mark.parametrize("autocast", ["float32", "bfloat16"])
@pytest.mark.parametrize("queued", [False, True])
def test_swav_is_the_swapped_prediction_of_sinkhorn_codes(started, queued, autocast):
    """Under autocast to bfloat16 too the embeddings, the codes and the loss are of float32."""
    before, run, views = started("swav", {"queue_from_step": 0})
    run.method.step_index = 3 * queued  # 48 images, as many as fit, have passed
    with precision.autocast(autocast, "cpu"):
        z = before.embed(before.encoder(torch.cat(views)))
        loss = run.method.step(views, None)["swapped_prediction"]
    assert z.dtype == loss.dtype == torch.float32
    prototypes, queues = normalize(array(before.prototypes.weight)), (before.queue.features, before.queue.embeddings)
    queues = [array(queue) if queued else np.zeros((0, z.shape[1])) for queue in queues]
    expected = swapped(*np.split(array(z), 2), prototypes, before.settings, queues)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_swav_prototypes_stand_still_first_and_then_move(started):
    before, run, views = started("swav", {"frozen_steps": 2})
    unit = F.normalize(before.prototypes.weight, dim=1)
    for index in range(4):
        run.method.step_index = index
        encoder = [p.clone() for p in run.method.encoder.parameters()]
        run.method.step(views, None)
        assert torch.allclose(run.method.prototypes.weight, unit, atol=1e-6) == (index < 2)
        assert not any(map(torch.equal, encoder, run.method.encoder.parameters()))


@pytest.mark.parametrize(
    ("spread", "said"),
    [(0.0, "the assignments collapsed at step 2 "), (1e-3, r"collapsed: at step 4 .* ln\(12\) = 2\.485 for 4 steps")],
    ids=["all alike", "loss at ln K"],
)
def test_swav_that_collapses_ends_the_run(make_run, digits, spread, said):
    settings = {"frozen_steps": 20, "stuck": {"steps": 4, "tolerance": 0.01}}
    run = train.Run(make_run("swav", steps=20, settings=settings), digits, "cpu")
    prototypes = run.method.prototypes.weight.detach()
    prototypes.copy_(prototypes[:1] + spread * prototypes)
    with pytest.raises(UserError, match=said):
        run.fit()


def test_swav_that_learns_is_not_taken_for_collapsed(started):
    _, run, views = started("swav", {"stuck": {"steps": 2, "tolerance": 0.01}})
    for index in range(3):
        run.method.step_index = index
        run.method.step(views, None)
    assert int(run.method.stuck) == 0 and run.method.collapse_vectors(IMAGES)["assignments"].shape == (7, 12)


def test_byol_is_equation_2_both_ways(started):
    """||q(z) / |q(z)| - z' / |z'| ||^2, mean over images, summed over the swap; z' of a target that reads its batch."""
    before, run, views = started("byol", {"ema": {"start_value": 0.5}})
    with torch.no_grad():
        for parameter in before.target_projector.parameters():  # away from the online network
            parameter.add_(0.1 * torch.randn_like(parameter))
        run.method.target_projector.load_state_dict(before.target_projector.state_dict())
    predictions = per_view(lambda h: before.predictor(before.projector(h)), before.encoder, views)
    targets = per_view(copy.deepcopy(before.target_projector).train(), before.target_encoder, views)
    q1, q2 = (normalize(array(p)) for p in predictions)
    t1, t2 = (normalize(array(z)) for z in targets)
    expected = ((q1 - t2) ** 2).sum(1).mean() + ((q2 - t1) ** 2).sum(1).mean()
    assert run.method.step(views, None)["regression"].item() == pytest.approx(expected, rel=1e-5)


def test_barlow_twins_is_its_pseudocode(started):
    """Algorithm 1: the deviations are NumPy's, which divide by N, as the batch norm of the release does."""
    before, run, views = started("barlow_twins")
    z_a, z_b = (array(z) for z in per_view(before.head, before.encoder, views))
    z_a_norm, z_b_norm = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (z_a, z_b))
    c = z_a_norm.T @ z_b_norm / len(z_a)
    c_diff = (c - np.eye(len(c))) ** 2
    c_diff[~np.eye(len(c), dtype=bool)] *= before.settings["off_diagonal"]
    expected = before.settings["loss_scale"] * c_diff.sum()
    assert run.method.step(views, None)["cross_correlation"].item() == pytest.approx(expected, rel=1e-4)


def test_vicreg_is_its_pseudocode(started):
    """Algorithm 1, its variance term halved as in the authors' release."""
    before, run, views = started("vicreg", {"weights": {"invariance": 20.0, "variance": 15.0, "covariance": 2.0}})
    z_a, z_b = (array(z) for z in per_view(before.head, before.encoder, views))
    d = z_a.shape[1]
    sim_loss = ((z_a - z_b) ** 2).mean()
    std_loss = sum(np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)).mean() for z in (z_a, z_b)) / 2
    cov_loss = sum((np.cov(z.T)[~np.eye(d, dtype=bool)] ** 2).sum() / d for z in (z_a, z_b))
    expected = 20 * sim_loss + 15 * std_loss + 2 * cov_loss
    assert run.method.step(views, None)["vicreg"].item() == pytest.approx(expected, rel=1e-4)
