from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from nas_service.errors import InvalidRequestError
from workers.data.blur import disk
from workers.data.corruption import CORRUPTIONS, SEVERITIES, corrupt
from workers.data.fog import plasma

# In 3 and 4 the tables of these two hardly differ in what they do to a pixel.
NEARLY_EQUAL = ("motion_blur", "pixelate")


def photographs(*, count: int = 24, channels: int = 3, side: int = 32) -> torch.Tensor:
    """Images with the 1/f spectrum of photographs."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
    noise = np.fft.fft2(rng.standard_normal((count, channels, side, side))) / np.maximum(frequency, 1 / side)
    images = np.fft.ifft2(noise).real
    images = (images - images.mean((2, 3), keepdims=True)) / images.std((2, 3), keepdims=True)
    return torch.from_numpy(np.clip(110 + 50 * images, 0, 255).astype(np.uint8))


PHOTOGRAPHS = photographs()


def harm(name: str, severity: int, images: torch.Tensor = PHOTOGRAPHS) -> float:
    return float((corrupt(images, name, severity=severity).float() - images.float()).pow(2).mean().sqrt())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_harm_grows_with_severity(name):
    distances = [harm(name, severity) for severity in SEVERITIES]
    slack = 0.9 if name in NEARLY_EQUAL else 1.0
    assert all(after > slack * before > 0 for before, after in itertools.pairwise(distances)), distances
    assert distances[-1] > 1.2 * distances[0]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_large_images_take_the_strengths_of_imagenet_c(name):
    images = photographs(count=2, side=128)
    assert harm(name, 5, images) > harm(name, 1, images) > 0


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("channels", "side"), [(1, 8), (1, 28), (3, 32)])
def test_small_and_grey_images_keep_their_shape_and_the_original(name, channels, side):
    images = photographs(count=3, channels=channels, side=side)
    before = images.clone()
    corrupted = corrupt(images, name, severity=5)
    assert (corrupted.shape, corrupted.dtype) == (images.shape, torch.uint8)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_seed_gives_the_same_bytes(name):
    one, two = (corrupt(PHOTOGRAPHS, name, severity=3, seed=1) for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "fog"])
def test_what_is_random_differs_from_seed_to_seed_and_image_to_image(name):
    alike = PHOTOGRAPHS[:1].expand(2, -1, -1, -1).contiguous()
    one, two = (corrupt(alike, name, severity=3, seed=seed) for seed in (0, 1))
    assert not torch.equal(one, two)
    assert not torch.equal(one[0], one[1])


def test_gaussian_noise_has_the_deviation_of_its_table():
    grey = torch.full((20, 3, 32, 32), 128, dtype=torch.uint8)
    noise = corrupt(grey, "gaussian_noise", severity=5).float() / 255
    assert float(noise.std()) == pytest.approx(0.10, rel=0.02)


def test_impulse_noise_turns_its_share_black_and_white():
    grey = torch.full((20, 3, 32, 32), 128, dtype=torch.uint8)
    struck = corrupt(grey, "impulse_noise", severity=5)
    assert float((struck == 0).float().mean()) == pytest.approx(0.035, rel=0.1)
    assert float((struck == 255).float().mean()) == pytest.approx(0.035, rel=0.1)


def test_brightness_raises_the_brightest_channel_and_keeps_hue():
    pixel = torch.tensor([100, 50, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 8, 8).contiguous()
    raised = corrupt(pixel, "brightness", severity=5)[0, :, 0, 0].tolist()
    assert raised == pytest.approx([100 + 0.3 * 255, 50 * (100 + 0.3 * 255) / 100, 0], abs=1)


def test_contrast_keeps_the_mean_and_shrinks_the_deviation():
    changed = corrupt(PHOTOGRAPHS, "contrast", severity=1).float()
    torch.testing.assert_close(changed.mean((2, 3)), PHOTOGRAPHS.float().mean((2, 3)), atol=0.6, rtol=0)
    torch.testing.assert_close(changed.std((2, 3)), 0.75 * PHOTOGRAPHS.float().std((2, 3)), atol=0.6, rtol=0)


def test_pixelate_leaves_as_many_rows_and_columns_as_its_table_says():
    blocks = corrupt(PHOTOGRAPHS, "pixelate", severity=5)[0, 0].numpy()
    assert len(np.unique(blocks, axis=0)) == np.unique(blocks, axis=1).shape[1] == int(32 * 0.65)


@pytest.mark.parametrize(("radius", "softness"), [(0.3, 0.4), (1.5, 0.1), (10.0, 0.5)])
def test_a_disk_sums_to_one_and_looks_the_same_from_all_sides(radius, softness):
    kernel = disk(radius, softness)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-7)
    np.testing.assert_allclose(kernel, kernel[::-1], atol=1e-7)


def test_clouds_are_rougher_where_they_decay_less():
    def roughness(decay: float) -> float:
        clouds = plasma(50, 32, decay=decay, rng=np.random.default_rng(0))
        assert clouds.min() == 0
        assert clouds.max() <= 1
        return float(np.abs(np.diff(clouds, axis=1)).mean())

    assert roughness(1.4) > roughness(2.0) > roughness(3.0)


@pytest.mark.parametrize(
    ("images", "name", "severity", "message"),
    [
        (PHOTOGRAPHS, "gausian_noise", 1, "unknown corruption 'gausian_noise'; did you mean 'gaussian_noise'"),
        (PHOTOGRAPHS, "fog", 6, r"severity is 6 but must lie in 1\.\.5"),
        (PHOTOGRAPHS.float(), "fog", 1, r"images are torch.float32 \(24, 3, 32, 32\) but must be uint8"),
        (PHOTOGRAPHS[:, :2], "fog", 1, r"must be uint8 \(N, 1 or 3, H, W\)"),
    ],
)
def test_what_cannot_be_corrupted_is_refused(images, name, severity, message):
    with pytest.raises(InvalidRequestError, match=message):
        corrupt(images, name, severity=severity)
