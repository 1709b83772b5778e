"""One image file, or its bytes, as pixels of the size that is wanted."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import InterpolationMode, functional

from nas_service.errors import InvalidRequestError

Pixels = NDArray[np.uint8]
MOST_PIXELS = 100_000_000  # the largest photograph in ImageNet has 61 million


def decode(source: Path | bytes, where: str, *, side: int | None = None, margin: float = 1, mode: str = "") -> Pixels:
    """Return (H, W, C) uint8 pixels.

    Args:
        source: A file, or the bytes of one.
        where: What to call it in an error.
        side: Resize the shorter side to `margin * side` and cut a square of `side` out of the centre; None leaves it.
        margin: At least 1.
        mode: `L` or `RGB`; empty takes the file's own if it is one of these, else RGB.

    Raises:
        InvalidRequestError: no readable image, or one of more than 100 million pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours, below
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                _check_size(image, where)
                wanted = mode or (image.mode if image.mode in ("L", "RGB") else "RGB")
                if side is not None:
                    image.draft(wanted, (2 * round(side * margin),) * 2)  # JPEG decodes smaller sizes faster
                pixels = np.array(_fitted(image.convert(wanted), side, margin))
    except Image.DecompressionBombError:
        raise InvalidRequestError(f"{where} is too large to be a photograph; remove or replace it") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise InvalidRequestError(f"{where} holds no readable image: {reason}; remove or replace it") from None
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _check_size(image: Image.Image, where: str) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise InvalidRequestError(
            f"{where} has {image.width}x{image.height} pixels but may have {MOST_PIXELS} at most; remove or shrink it"
        )


def _fitted(image: Image.Image, side: int | None, margin: float) -> Image.Image:
    if side is None or image.size == (side, side):
        return image
    resized = functional.resize(image, [round(side * margin)], interpolation=InterpolationMode.BILINEAR)
    return functional.center_crop(resized, [side, side])
