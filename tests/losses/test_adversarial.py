"""The norm hinge and the plain GAN's losses, with their gradients, against literal formulas."""

import math

import numpy as np
import pytest
import torch
from gradcheck import RNG, agree

from structgan.losses import adversarial


def test_norm_hinge_pulls_short_vectors_only():
    e = RNG(4).normal(size=(6, 5))
    e *= (np.array([0.2, 0.5, 0.9, 1.1, 2.0, 5.0]) / np.linalg.norm(e, axis=1))[:, None]

    def literal(x):
        return sum(max(0.0, 1 - math.sqrt(sum(v * v for v in row))) ** 2 for row in x) / len(x)

    agree(adversarial.norm_hinge, literal, e)
    e[0] = 0  # at the origin the gradient is finite
    tensor = torch.tensor(e, requires_grad=True)
    (gradient,) = torch.autograd.grad(adversarial.norm_hinge(tensor), tensor)
    assert gradient.isfinite().all() and (gradient[3:] == 0).all() and (gradient[1:3] != 0).all()


SOFTPLUS = lambda x: math.log(1 + math.exp(x))  # noqa: E731
FORMS = {
    "hinge": (lambda r: max(0.0, 1 - r), lambda f: max(0.0, 1 + f), lambda f: -f),
    "non_saturating": (lambda r: SOFTPLUS(-r), SOFTPLUS, lambda f: SOFTPLUS(-f)),
}


@pytest.mark.parametrize("form", FORMS)
def test_adversarial_forms(form):
    real, fake = np.array([-2.0, 0.3, 1.4, 3.0]), np.array([-1.7, 0.2, -0.4, 2.5, 0.9])
    on_real, on_fake, of_generator = FORMS[form]

    def literal(r, f):
        return sum(map(on_real, r)) / len(r) + sum(map(on_fake, f)) / len(f)

    agree(lambda r, f: adversarial.discriminator_loss(r, f, form), literal, real, fake)
    agree(lambda f: adversarial.generator_loss(f, form), lambda f: sum(map(of_generator, f)) / len(f), fake)
