"""The data and the settings of a bench, the same for all of its cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.plan import PairPlan
from nas_service.presets import PRESETS as SPACES
from workers.bench.config import BenchConfig
from workers.bench.folder import CellId
from workers.bench.outputs import without_test
from workers.bench.presets import BenchPreset, bench_preset
from workers.bench.system import Setting
from workers.data.dataset import Dataset
from workers.data.loading import load
from workers.data.splits import Splits, stratified_parts
from workers.train_config import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Workload:
    """Loaded data, drawn splits and the space for them."""

    config: BenchConfig
    preset: BenchPreset
    dataset: Dataset
    splits: Splits
    space: PairSpace
    pair: PairPlan

    @classmethod
    def load(cls, config: BenchConfig) -> Workload:
        """Return the workload of a bench; InvalidRequestError if the data or the space cannot be had."""
        preset = bench_preset(config.preset)
        if preset.space not in SPACES:
            raise InvalidRequestError(f"space {preset.space!r} does not exist; choose from: {', '.join(SPACES)}")
        dataset = load(config.dataset)
        space = PairSpace(
            replace(SPACES[preset.space], activation=preset.activation),
            channels=dataset.channels,
            resolution=dataset.resolution,
            classes=len(dataset.classes),
            constraints=preset.constraints,
        )
        splits = Splits.of(dataset, seed=config.split_seed, train_fraction=config.train_fraction)
        return cls(
            config=config,
            preset=preset,
            dataset=dataset,
            splits=with_more_weights(splits, dataset, config),
            space=space,
            pair=space.plan(preset_point(space, preset)),
        )

    @property
    def budgets(self) -> tuple[float, ...]:
        """Average MACs that accuracies are compared at, ascending."""
        scale = self.pair.big_macs if self.preset.relative else 1.0
        return tuple(share * scale for share in self.preset.budgets)

    def setting(self, cell: CellId) -> Setting:
        """Return what the cell's system is made from."""
        train = {**self.preset.train, **self.config.train}
        config = TrainConfig.from_dict({**train, "epochs": self.config.epochs, "seed": cell.seed})
        batch = min(config.batch_size, len(self.splits.weights))
        return Setting(
            name=cell.system,
            seed=cell.seed,
            space=self.space,
            pair=self.pair,
            config=config,
            images=len(self.splits.weights) // batch * batch,
            budgets=self.budgets,
            data=(without_test(self.dataset), self.splits),
        )


def preset_point(space: PairSpace, preset: BenchPreset) -> dict[str, object]:
    """Return the preset's pair as a point of `space`; genes that it does not name take their smallest choice."""
    return {name: preset.pair.get(name, values[0]) for name, values in space.choices.items()}


def with_more_weights(splits: Splits, dataset: Dataset, config: BenchConfig) -> Splits:
    """Return splits that keep `validation_images` for choices and train on the rest of the validation split.

    EVALUATION protocol, section 2, splits: a system whose architecture is chosen is trained on what chose it, too; the
    calibration split stays unseen. With a train_fraction nothing is moved.
    """
    keep, available = config.validation_images, len(splits.validation)
    if keep is None or keep >= available or config.train_fraction < 1:
        return splits
    labels = dataset.train_labels.numpy()[splits.validation]
    kept, rest = stratified_parts(labels, (keep / available,), seed=config.split_seed)
    weights = np.sort(np.concatenate([splits.weights, splits.validation[rest]]))
    return replace(splits, validation=splits.validation[kept], weights=weights)
