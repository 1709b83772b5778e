"""Classify a folder of pictures, or what a camera sees, with a bundle: `python classify.py BUNDLE FOLDER_OR_CAMERA`.

A camera is a number (0 is the first one) and needs OpenCV: `pip install opencv-python-headless`. JPEG and PNG files,
and pictures of another size than the network's, which are cut to shape about their centre and scaled, need Pillow:
`pip install 'biglittle-nas[image]'`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_agent.images import read_image
from edge_agent.records import InputSpec
from edge_agent.runtime import Pair

PICTURES = {".npy", ".ppm", ".pgm", ".png", ".jpg", ".jpeg"}


def pictures(folder: Path, spec: InputSpec) -> Iterator[np.ndarray]:
    """Yield the pictures of a folder by name, as the network wants them."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURES:
            image = read_image(path)
            yield image if image.shape == (spec.height, spec.width, spec.channels) else fitted(image, spec)


def fitted(image: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return the picture's middle, scaled with Pillow, in as many channels as the network takes."""
    from PIL import Image, ImageOps

    picture = Image.fromarray(image.squeeze(axis=2) if image.shape[2] == 1 else image)
    picture = picture.convert("L" if spec.channels == 1 else "RGB")
    scaled = ImageOps.fit(picture, (spec.width, spec.height), method=Image.Resampling.BILINEAR)
    return np.asarray(scaled).reshape(spec.height, spec.width, spec.channels)


def frames(camera: int, spec: InputSpec) -> Iterator[np.ndarray]:
    """Yield what a camera sees until it is unplugged."""
    import cv2

    source = cv2.VideoCapture(camera)
    try:
        while True:
            got, frame = source.read()
            if not got:
                return
            yield fitted(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), spec)
    finally:
        source.release()


def main() -> None:
    """Print a line for each picture, and what was done at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("source", help="a folder of pictures, or the number of a camera")
    parser.add_argument("--latency-ms", type=float, help="keep the mean time per picture below this")
    options = parser.parse_args()
    with Pair.load(options.bundle, drift=True) as pair:
        if options.latency_ms is not None:
            pair.hold(latency_ms=options.latency_ms)
        is_camera = options.source.isdigit()
        images = frames(int(options.source), pair.input) if is_camera else pictures(Path(options.source), pair.input)
        try:
            for seen in pair.predict_stream(images):
                print(f"{seen.label}\t{seen.probabilities.max():.3f}\t{seen.route}\t{seen.latency_ms:.2f} ms")
        except KeyboardInterrupt:
            pass  # how one leaves a camera
        usage = pair.usage
        print(f"{usage.n} pictures, {usage.escalated} of them to the big network; drift: {pair.drift.as_text()}")


if __name__ == "__main__":
    main()
