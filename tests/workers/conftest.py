from __future__ import annotations

import pytest
import torch

from nas_service.pair_space import PairSpace, SpaceDefinition, StageChoices
from nas_service.plan import COUPLINGS
from nas_service.presets import MICRO, TINY
from workers.data.dataset import Augmentation, Dataset, DatasetSpec
from workers.data.loading import load
from workers.data.splits import Splits
from workers.evaluation import EvaluationContext, EvaluationData
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.training import train

# Every kind of block, elastic kernels and expansions, strides that make shortcuts with and without projection, a
# little that may see the image smaller, and an activation other than ReLU.
EVERY_KIND = SpaceDefinition(
    name="every-kind",
    stem_widths=(8, 16),
    stem_stride=1,
    stem_depths=(1, 2),
    strides=(1, 2),
    little=(
        StageChoices(widths=(8, 16), depths=(1, 2), kernels=(3,), kinds=("separable", "inverted"), expansions=(1, 2)),
        StageChoices(widths=(8, 24), depths=(1, 2), kernels=(3, 5), kinds=("separable", "inverted_se")),
    ),
    big=(
        StageChoices(
            widths=(16, 24),
            depths=(1, 2),
            kernels=(3, 5),
            kinds=("residual", "inverted", "inverted_se", "fused"),
            expansions=(1, 2),
        ),
        StageChoices(widths=(24, 32), depths=(2,), kernels=(3, 5), kinds=("separable", "separable_se", "residual")),
    ),
    couplings=COUPLINGS,
    little_scales=(0.75, 1.0),
    activation="hardswish",
)
DEFINITIONS = {"micro": (MICRO, 1, 8), "tiny": (TINY, 3, 32), "every-kind": (EVERY_KIND, 3, 12)}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def space_of(name: str) -> PairSpace:
    definition, channels, resolution = DEFINITIONS[name]
    return PairSpace(definition, channels=channels, resolution=resolution, classes=10)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load(DatasetSpec(name="digits"))


@pytest.fixture(scope="session")
def splits(digits: Dataset) -> Splits:
    return Splits.of(digits, seed=0)


@pytest.fixture(scope="session")
def micro() -> PairSpace:
    return space_of("micro")


@pytest.fixture(scope="session")
def small(digits: Dataset) -> tuple[Dataset, Splits]:
    """The digits with a weights split of a tenth: an epoch is 3 steps of 32."""
    return digits, Splits.of(digits, seed=0, train_fraction=0.1)


@pytest.fixture(scope="session")
def trained(micro: PairSpace, digits: Dataset, splits: Splits) -> tuple[Supernet, bytes]:
    """A micro supernet after ten epochs, and its checkpoint; nobody may change it."""
    torch.set_num_threads(1)
    supernet = Supernet(micro)
    reports = list(train(supernet, digits, splits, TrainConfig(epochs=10, batch_size=64)))
    return supernet, reports[-1].checkpoint


@pytest.fixture(scope="session")
def data(digits: Dataset, splits: Splits) -> EvaluationData:
    return EvaluationData.of(digits, splits, recalibration=500)


@pytest.fixture(scope="session")
def context(data: EvaluationData) -> EvaluationContext:
    return EvaluationContext(data)


def random_dataset(*, count: int = 60, channels: int = 3, side: int = 8, classes: int = 3) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2 * count, channels, side, side), generator=generator, dtype=torch.uint8)
    labels = torch.arange(2 * count) % classes
    return Dataset(
        name="random",
        classes=tuple(f"class-{i}" for i in range(classes)),
        train_images=images[:count],
        train_labels=labels[:count],
        test_images=images[count:],
        test_labels=labels[count:],
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        augmentation=Augmentation(pad=1, flip=True),
    )
