"""What one bench compares and how it trains: the file `bench.json` of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nas_service.errors import ConflictError, InvalidRequestError
from workers.data.dataset import DatasetSpec

VERSION = 1
GROWING = ("systems", "seeds")  # a later run may add some; everything else must stay


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    """One bench.

    Attributes:
        preset: A key of `workers.bench.presets.PRESETS`.
        dataset: Which data, from where.
        systems: Keys of `workers.bench.registry.SYSTEMS`.
        seeds: Of every system.
        epochs: Of a run at the base budget; systems at equal MACs may get more or fewer.
        train_fraction: Share of the weights split to train on, in (0, 1], for quick looks.
        validation_images: Kept to choose routers and to watch training; the rest of the split trains weights, too,
            since no architecture is chosen here. None keeps all.
        split_seed: Of the data splits, the same for all systems and seeds.
        train: Hyperparameters that differ from the preset's, by the names of `TrainConfig`.
        note: Said under the tables' title, such as how the data differ from what their name promises.
        version: Of this format.
    """

    preset: str
    dataset: DatasetSpec
    systems: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int
    train_fraction: float = 1.0
    validation_images: int | None = None
    split_seed: int = 0
    train: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise InvalidRequestError(f"bench.json has format {self.version} but this code reads {VERSION}; start anew")
        if not self.systems or not self.seeds:
            raise InvalidRequestError(f"systems {self.systems} and seeds {self.seeds}; give at least one of each")
        if self.epochs < 1 or not 0 < self.train_fraction <= 1:
            raise InvalidRequestError(
                f"epochs {self.epochs} and train_fraction {self.train_fraction:g}; give at least 1, and one in (0, 1]"
            )
        if self.validation_images is not None and self.validation_images < 1:
            raise InvalidRequestError(f"validation_images is {self.validation_images} but must be at least 1, or None")
        if own := sorted({"epochs", "seed", "threads"} & set(self.train)):
            raise InvalidRequestError(f"training key {own[0]!r} is the bench's own; leave it out of `train`")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able data, the exact inverse of `from_dict`."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        lists = {"systems": list(self.systems), "seeds": list(self.seeds)}
        return {**data, **lists, "dataset": asdict(self.dataset), "train": dict(self.train)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BenchConfig:
        """Return the configuration in `data`; InvalidRequestError for unknown keys."""
        if unknown := sorted(set(data) - {f.name for f in fields(cls)}):
            raise InvalidRequestError(
                f"unknown bench key {unknown[0]!r}; choose from: {', '.join(f.name for f in fields(cls))}"
            )
        values = dict(data)
        return cls(
            **{
                **values,
                "dataset": DatasetSpec.from_dict(values["dataset"]),
                "systems": tuple(values["systems"]),
                "seeds": tuple(values["seeds"]),
            }
        )

    def grown_from(self, earlier: BenchConfig) -> BenchConfig:
        """Return this configuration with the earlier one's systems and seeds first, and its note where this has none.

        Raises:
            ConflictError: anything else differs; where the data lie may.
        """
        ours, theirs = (_comparable(config) for config in (self, earlier))
        if differing := sorted(key for key in ours if ours[key] != theirs[key]):
            key = differing[0]
            raise ConflictError(
                f"this folder's bench has {key} {theirs[key]!r}, not {ours[key]!r}; leave that option out to go on "
                "with it, or give another folder"
            )
        merged = {key: tuple(dict.fromkeys((*getattr(earlier, key), *getattr(self, key)))) for key in GROWING}
        return BenchConfig.from_dict({**self.to_dict(), **merged, "note": self.note or earlier.note})


def _comparable(config: BenchConfig) -> dict[str, Any]:
    data = {key: value for key, value in config.to_dict().items() if key not in (*GROWING, "note")}
    return {**data, "dataset": config.dataset.name}
