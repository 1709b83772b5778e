"""Reading an image file as uint8 (H, W, C): .npy, PPM and PGM always, JPEG and PNG with Pillow if it is installed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_agent.errors import EdgeError

_HEADER = re.compile(rb"(P[56])(?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)\s")

_DEEP_MODES = ("I", "F")


def read_image(path: str | Path) -> npt.NDArray[np.uint8]:
    """Return the image, shape (H, W, C).

    Raises:
        EdgeError: If the file cannot be read, or its format needs Pillow and that is not installed.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            image = _read_npy(path)
        elif path.suffix.lower() in (".ppm", ".pgm"):
            image = parse_netpbm(path.read_bytes())
        else:
            image = _read_with_pillow(path)
    except OSError as error:
        raise EdgeError(f"cannot read image {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, SyntaxError, MemoryError) as error:  # Pillow's word for a broken PNG is SyntaxError
        raise EdgeError(f"cannot read image {path}: {error}") from None
    if image.ndim == 2:
        image = image[:, :, None]
    if image.dtype != np.uint8 or image.ndim != 3:
        raise EdgeError(f"image {path} is {image.dtype} {image.shape} but must be uint8 (height, width, channels)")
    pixels: npt.NDArray[np.uint8] = image
    return pixels


def parse_netpbm(data: bytes) -> npt.NDArray[np.uint8]:
    """Return the pixels of a binary PPM (P6) or PGM (P5) with 8 bits a sample, shape (H, W, 3) or (H, W, 1)."""
    header = _HEADER.match(data)
    if not header or int(header[4]) != 255:
        raise ValueError("it is no binary PPM or PGM (P6 or P5) with maximum 255")
    width, height, channels = int(header[2]), int(header[3]), 3 if header[1] == b"P6" else 1
    size = width * height * channels
    if len(data) - header.end() < size:
        raise ValueError(f"it has {len(data) - header.end()} bytes of pixels but needs {size}; it is truncated")
    return np.frombuffer(data, dtype=np.uint8, count=size, offset=header.end()).reshape(height, width, channels)


def _read_npy(path: Path) -> npt.NDArray[np.uint8]:
    """Return the array of a file, mapped first, so that a header cannot ask for more memory than the file has bytes."""
    with path.open("rb") as file:
        begins = file.read(6)
    if not begins.startswith((b"\x93NUMPY", b"PK")):  # numpy takes it for a pickle and advises to trust it
        raise ValueError("it is no array; save one with numpy.save")
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it is a zip of arrays (.npz); save one array with numpy.save")
    return np.array(array)


def _read_with_pillow(path: Path) -> npt.NDArray[np.uint8]:
    try:
        from PIL import Image
    except ImportError:
        raise EdgeError(
            f"{path} needs Pillow: `pip install 'biglittle-nas[image]'`, or give .npy, .ppm or .pgm"
        ) from None
    try:
        with Image.open(path) as image:
            if image.mode in _DEEP_MODES or image.mode.startswith("I;16"):
                raise ValueError(
                    f"its pixels have more than 8 bits (mode {image.mode}); convert it to 8 bits a channel"
                )
            return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise ValueError(f"{error}; resize it") from None
