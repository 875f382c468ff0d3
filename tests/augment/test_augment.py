"""Augmentation against torchvision, operation by operation and end to end, and what must hold for every regime."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from structgan.augment import BLENDS, build, color, resample

SIMCLR = {
    "flip": 0.5,
    "crop": {"scale": [0.08, 1.0], "ratio": [0.75, 1.333], "interpolation": "bicubic"},
    "jitter": {"p": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "grayscale": 0.2,
    "blur": {"p": 0.5, "sigma": [0.1, 2.0], "kernel": 5},
    "solarise": 0.2,
}


def pictures(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Smooth random uint8 pictures with full contrast, (N, 3, size, size)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)
    return (fine * 255).round().to(torch.uint8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_none_only_converts_and_draws_nothing():
    images, generator = pictures(5, 16), seeded(3)
    before = generator.get_state()
    views = build({}, 16)(images, generator)
    assert views.dtype == torch.float32
    assert torch.equal(views, images.float() / 127.5 - 1)
    assert torch.equal(before, generator.get_state())


def test_flip_mirrors_about_half_of_the_images_exactly():
    images = pictures(400, 8)
    views = build({"flip": 0.5}, 8)(images, seeded(0))
    plain = images.float() / 127.5 - 1
    mirrored = (views == plain.flip(-1)).flatten(1).all(1)
    assert torch.equal(views[~mirrored], plain[~mirrored])
    assert 150 < int(mirrored.sum()) < 250
    assert torch.equal(build({"flip": 1.0}, 8)(images, seeded(0)), plain.flip(-1))
    assert torch.equal(build({"flip": 0.0}, 8)(images, seeded(0)), plain)


@pytest.mark.parametrize(
    ("name", "mode"), [("bilinear", InterpolationMode.BILINEAR), ("bicubic", InterpolationMode.BICUBIC)]
)
def test_crop_matrix_resamples_as_torchvision_does(name, mode):
    size, images = 16, pictures(40, 16).float() / 255
    box = resample.boxes(torch.rand(40, 22, generator=seeded(1)), size, (0.02, 1.0), (0.5, 2.0))
    flip = torch.arange(40) % 2 == 0
    rows = resample.crop_matrix(box[0], box[2], torch.zeros(40, dtype=torch.bool), size, name == "bicubic")
    columns = resample.crop_matrix(box[1], box[3], flip, size, name == "bicubic")
    views = resample.separable(images, rows, columns)
    for i, (image, view) in enumerate(zip(images, views, strict=True)):
        top, left, height, width = (int(side[i]) for side in box)
        expected = tv.resized_crop(image, top, left, height, width, [size, size], mode, antialias=True)
        expected = expected.flip(-1) if flip[i] else expected
        torch.testing.assert_close(view, expected, atol=2e-6, rtol=0)


def test_boxes_follow_the_first_fitting_try_and_fall_back_to_the_center():
    size, uniform = 20, torch.rand(300, 22, generator=seeded(5))
    boxes = torch.stack(resample.boxes(uniform, size, (0.5, 1.0), (0.25, 4.0)), 1)
    fallbacks = 0
    for draws, box in zip(uniform.double(), boxes, strict=True):
        for trial in range(10):
            area = (0.5 + 0.5 * draws[trial]) * size**2
            ratio = math.exp(math.log(0.25) + draws[10 + trial] * (math.log(4.0) - math.log(0.25)))
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < width <= size and 0 < height <= size:
                top, left = int(draws[20] * (size - height + 1)), int(draws[21] * (size - width + 1))
                break
        else:
            fallbacks += 1
            top, left, height, width = 0, 0, size, size
        assert box.tolist() == [top, left, height, width]
    narrow = torch.stack(resample.boxes(uniform, size, (1.0, 1.0), (2.0, 2.0)), 1)
    assert (narrow == torch.tensor([5.0, 0.0, 10.0, 20.0])).all()


def test_each_color_operation_equals_torchvision_per_sample():
    images = pictures(30, 12).float() / 255
    images[0] = 0.5  # gray: no hue, no chroma
    images[1] = images[1, :1]
    factors, shift = torch.linspace(0, 2.5, 30), torch.linspace(-0.5, 0.5, 30)
    operations = ((color.BRIGHTNESS, tv.adjust_brightness), (color.CONTRAST, tv.adjust_contrast))
    for number, function in (*operations, (color.SATURATION, tv.adjust_saturation)):
        ours = color.blend_(images.clone(), torch.full((30,), number), factors)
        theirs = torch.stack([function(image, float(f)) for image, f in zip(images, factors, strict=True)])
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)
    ours = color.turn_hue_(images.clone(), shift)
    theirs = torch.stack([tv.adjust_hue(image, float(s)) for image, s in zip(images, shift, strict=True)])
    torch.testing.assert_close(ours, theirs, atol=5e-6, rtol=0)
    torch.testing.assert_close(color.gray(images), tv.rgb_to_grayscale(images), atol=2e-6, rtol=0)
    torch.testing.assert_close(color.solarise(images), tv.solarize(images, 0.5), atol=0, rtol=0)


@pytest.mark.parametrize(("size", "kernel"), [(16, 3), (32, 5), (8, 15)])
def test_blur_equals_torchvision_per_sample(size, kernel):
    images, sigma = pictures(9, size).float() / 255, torch.linspace(0.1, 2.0, 9)
    matrix = resample.blur_matrix(sigma, resample.reflected_taps(size, kernel))
    ours = resample.separable(images, matrix, matrix)
    for image, view, width in zip(images, ours, sigma, strict=True):
        expected = tv.gaussian_blur(image, [kernel, kernel], [float(width)] * 2)
        torch.testing.assert_close(view, expected, atol=3e-6, rtol=0)


def literal(images: torch.Tensor, seed: int) -> torch.Tensor:
    """The SIMCLR regime image by image with torchvision's functions, from the same draws."""
    count, size = len(images), images.shape[-1]
    flip, crop, jitter, gray, blur, solarise = torch.rand(36, count, generator=seeded(seed)).split([1, 22, 9, 1, 2, 1])
    box = resample.boxes(crop.T, size, (0.08, 1.0), (0.75, 1.333))
    views = []
    for i, image in enumerate(images.float() / 255):
        sides = [int(side[i]) for side in box]
        view = tv.resized_crop(image, *sides, [size, size], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
        view = view.flip(-1) if flip[0, i] < 0.5 else view
        if jitter[0, i] < 0.8:
            b, c, s = (0.6 + 0.8 * float(jitter[5 + k, i]) for k in range(3))
            operations = [
                lambda x, f=b: tv.adjust_brightness(x, f),
                lambda x, f=c: tv.adjust_contrast(x, f),
                lambda x, f=s: tv.adjust_saturation(x, f),
                lambda x, f=(2 * float(jitter[8, i]) - 1) * 0.1: tv.adjust_hue(x, f),
            ]
            for number in jitter[1:5, i].argsort().tolist():
                view = operations[number](view)
        view = tv.rgb_to_grayscale(view, 3) if gray[0, i] < 0.2 else view
        if blur[0, i] < 0.5:
            view = tv.gaussian_blur(view, [5, 5], [0.1 + 1.9 * float(blur[1, i])] * 2)
        views.append(tv.solarize(view, 0.5) if solarise[0, i] < 0.2 else view)
    return torch.stack(views) * 2 - 1


def test_full_recipe_equals_a_literal_loop_over_the_images():
    images = pictures(200, 16)
    ours = build(SIMCLR, 16)(images, seeded(11))
    away = (ours - literal(images, 11)).abs()
    # Solarise is a step: a value within rounding of its threshold may fall on either side.
    assert (away < 2e-5).float().mean() > 0.9999
    assert (away.flatten(1).amax(1) < 2e-5).float().mean() > 0.98


numbers = st.floats(0, 1)
spans = st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)).map(sorted)
regimes = st.fixed_dictionaries(
    {},
    optional={
        "flip": numbers,
        "crop": st.fixed_dictionaries(
            {"scale": spans, "ratio": spans, "interpolation": st.sampled_from(["bilinear", "bicubic"])}
        ),
        "jitter": st.fixed_dictionaries({"p": numbers, **dict.fromkeys(BLENDS, numbers), "hue": st.floats(0, 0.5)}),
        "grayscale": numbers,
        "blur": st.fixed_dictionaries({"p": numbers, "sigma": spans}),
        "solarise": numbers,
    },
)


@settings(max_examples=40, deadline=None)
@given(regime=regimes, size=st.sampled_from([8, 16, 32]), count=st.integers(1, 9), seed=st.integers(0, 99))
def test_every_regime_is_a_pure_function_with_values_in_range(regime, size, count, seed):
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=seeded(seed))
    kept, augment = images.clone(), build(regime, size)
    views = augment(images, seeded(seed))
    assert views.shape == images.shape and views.dtype == torch.float32 and views.is_contiguous()
    assert float(views.min()) >= -1 and float(views.max()) <= 1
    assert torch.equal(images, kept)
    assert torch.equal(views, augment(images, seeded(seed)))
    assert torch.equal(views, build(regime, size)(images, seeded(seed)))


def test_samples_of_a_batch_get_their_own_parameters_and_calls_differ():
    images = pictures(1, 16).expand(64, -1, -1, -1)
    augment, generator = build(SIMCLR, 16), seeded(0)
    first, second = augment(images, generator), augment(images, generator)
    assert len(first.flatten(1).unique(dim=0)) == 64
    assert not torch.equal(first, second)


def test_autocast_around_it_changes_nothing():
    images, augment = pictures(16, 16), build(SIMCLR, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = augment(images, seeded(2))
    assert torch.equal(inside, augment(images, seeded(2)))


@pytest.mark.parametrize("one", [*SIMCLR, None])
def test_images_of_a_network_get_the_same_view_and_their_gradient_through_it(one):
    """The directional derivative of a random projection of the views, against central differences in float64."""
    regime = SIMCLR if one is None else {one: 1.0 if one in ("flip", "grayscale", "solarise") else SIMCLR[one]}
    regime = {name: {**value, "p": 1.0} if "p" in dict(value if isinstance(value, dict) else {}) else value
              for name, value in regime.items()}  # fmt: skip
    augment, whole = build(regime, 16), pictures(6, 16)
    near = augment(whole.float() / 127.5 - 1, seeded(4)) - augment(whole, seeded(4))
    assert (near.abs() < 1e-5).float().mean() > 0.999  # solarise is a step

    images, direction, weights = torch.rand(3, 6, 3, 16, 16, generator=seeded(5), dtype=torch.float64)
    images = images.mul_(1.6).sub_(0.8).requires_grad_()
    views = augment(images, seeded(4))
    assert views.dtype == torch.float64
    (gradient,) = torch.autograd.grad((views * weights).sum(), images)
    with torch.no_grad():
        up, down = (augment(images + h * direction, seeded(4)) for h in (1e-6, -1e-6))
    expected = ((up - down) * weights).sum() / 2e-6
    assert torch.isclose((gradient * direction).sum(), expected, rtol=1e-4) and expected.abs() > 0.1
