"""Does this board compute what the cluster computed? parity.npz holds inputs with their expected outputs.

Arrays: `images` uint8 (N, H, W, C); `little_logits` and `big_logits` float32 (N, K), the big's for every image whatever
its route; `scores` float32 (N,); `routes` uint8 (N,), 0 little and 1 big, at the bundle's default operating point.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.errors import BundleError

PARITY_ARRAYS = ("images", "little_logits", "big_logits", "scores", "routes")
_MAX_UNPACKED_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityInputs:
    """The content of parity.npz."""

    images: npt.NDArray[np.uint8]
    little_logits: npt.NDArray[np.float32]
    big_logits: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    routes: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in PARITY_ARRAYS}
        if len(set(lengths.values())) != 1 or lengths["images"] == 0:
            raise BundleError(f"parity arrays have lengths {lengths} but must be equal and at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """How far this board is from the cluster: over `n` inputs, logits, routes, and labels at the default point."""

    n: int
    max_abs_error: float
    route_mismatches: int
    label_mismatches: int


def load_parity(path: Path) -> ParityInputs:
    """Return the arrays of a parity.npz; pickles and archives that unpack beyond 256 MiB are refused."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MAX_UNPACKED_BYTES:
                raise BundleError(f"{path.name} unpacks to more than {_MAX_UNPACKED_BYTES} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            if missing := sorted(set(PARITY_ARRAYS) - set(arrays.files)):
                raise BundleError(f"{path.name} lacks {', '.join(missing)}; it must hold {', '.join(PARITY_ARRAYS)}")
            content: dict[str, Any] = {name: arrays[name] for name in PARITY_ARRAYS}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path.name} cannot be read: {error}; get the bundle again") from None
    return ParityInputs(**content)
