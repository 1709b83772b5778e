"""From an image's bytes to what a network is fed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_agent.errors import WrongImageError
from edge_agent.records import InputSpec

Image = npt.NDArray[np.uint8]
Tensor = npt.NDArray[np.float32]

_WHITE = np.float32(255)
_UINT8 = np.dtype(np.uint8)


class Normaliser:
    """uint8 (H, W, C) to float32 (1, C, H, W), `(x / 255 - mean) / std` by channel, in exactly these three steps."""

    def __init__(self, spec: InputSpec) -> None:
        """Lay out mean and deviation as the pixels lie, so that no step has to broadcast."""
        self._shape = (spec.height, spec.width, spec.channels)
        planes = (1, spec.channels, spec.height, spec.width)
        self._mean, self._std = (
            np.ascontiguousarray(np.broadcast_to(np.asarray(v, dtype=np.float32)[None, :, None, None], planes))
            for v in (spec.mean, spec.std)
        )

    def buffer(self) -> Tensor:
        """Return an array to be given as `out`."""
        return np.empty_like(self._mean)

    def __call__(self, image: Image, *, out: Tensor | None = None) -> Tensor:
        """Return the network's input, in `out` if that is given; a (H, W) image is taken as one channel.

        Raises:
            WrongImageError: If the image has another type or size.
        """
        if not isinstance(image, np.ndarray) or image.dtype != _UINT8 or image.shape != self._shape:
            image = self._as_one_channel(image)
        if out is None:
            out = self.buffer()
        np.copyto(out[0], image.transpose(2, 0, 1))
        np.divide(out, _WHITE, out)
        np.subtract(out, self._mean, out)
        np.divide(out, self._std, out)
        return out

    def _as_one_channel(self, image: Image) -> Image:
        if not isinstance(image, np.ndarray):
            got = f"{type(image).__name__}, no numpy array,"
        elif image.dtype == np.uint8 and (*image.shape, 1) == self._shape:
            return image[:, :, None]
        else:
            got = f"{image.dtype} {image.shape}"
        raise WrongImageError(
            f"image is {got} but must be uint8 {self._shape}, (height, width, channels), "
            "with values from 0 to 255; resize or convert it"
        )
