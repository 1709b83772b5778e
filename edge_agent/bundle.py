"""A bundle on disk, checked before use: manifest, sizes, hashes, no links, no paths; zips unpack within limits."""

from __future__ import annotations

import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Literal

from edge_agent.errors import BundleError, ModelRefusedError
from edge_agent.files import sha256_of
from edge_agent.onnx_file import check_model_file
from edge_agent.records import BundleFile, Manifest, OperatingPoint, RecordError, Variant

MANIFEST_NAME = "bundle.json"
_MAX_MANIFEST_BYTES = 4 << 20
_MAX_BUNDLE_BYTES = 1 << 30
_COPY_BYTES = 1 << 20
# What zipfile raises for damaged, encrypted, or unknown content.
_ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, struct.error)


class Bundle:
    """A verified bundle. A zip is unpacked into a temporary folder that `close` removes."""

    def __init__(self, path: str | Path) -> None:
        """Open the folder or zip at `path` and check all of its files.

        Raises:
            BundleError: If anything is absent, damaged, unsafe or of another version.
        """
        self._unpacked: tempfile.TemporaryDirectory[str] | None = None
        path = Path(path)
        try:
            if path.is_dir():
                self.root = path
            elif zipfile.is_zipfile(path):
                self._unpacked = tempfile.TemporaryDirectory(prefix="nas-bundle-")
                self.root = Path(self._unpacked.name)
                _unpack(path, self.root)
            else:
                raise BundleError(f"{path} is no bundle; give a folder with {MANIFEST_NAME} or a zip of one")
            self.manifest = _manifest(self.root)
            for file in self.manifest.files:
                _check_file(self.root / file.name, file)
            for variant in self.manifest.variants:
                for name in (variant.little, variant.big):
                    check_model_file(self.root / name)
        except (OSError, RecordError, ModelRefusedError, zipfile.BadZipFile) as error:
            self.close()
            raise BundleError(f"bundle {path}: {error}") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove what was unpacked."""
        if self._unpacked:
            self._unpacked.cleanup()
            self._unpacked = None

    def variant(self, precision: Literal["fp32", "int8"] | None) -> Variant:
        """Return the variant of a precision, the bundle's default for None; raise BundleError if it lacks that."""
        precision = precision or self.manifest.default_precision
        for variant in self.manifest.variants:
            if variant.precision == precision:
                return variant
        have = ", ".join(variant.precision for variant in self.manifest.variants)
        raise BundleError(f"bundle has no {precision} variant; it has: {have}")

    def operating_point(self, name: str | None, *, variant: Variant) -> OperatingPoint:
        """Return an operating point of a variant by name, the bundle's default for None.

        A variant's thresholds are its own: another precision's would route other inputs than it promises.
        """
        points = {point.name: point for point in variant.operating_points or self.manifest.operating_points}
        wanted = self.manifest.default_operating_point if name is None else name
        if wanted not in points:
            raise BundleError(f"unknown operating point {wanted!r}; choose one of: {', '.join(points)}")
        return points[wanted]


def _manifest(root: Path) -> Manifest:
    path = root / MANIFEST_NAME
    if not path.is_file():
        raise BundleError(f"{root} holds no {MANIFEST_NAME}; give the folder that `nas get` wrote")
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} has more than {_MAX_MANIFEST_BYTES} bytes")
    return Manifest.from_json(path.read_bytes(), where=MANIFEST_NAME)


def _check_file(path: Path, file: BundleFile) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise BundleError(f"bundle lacks {file.name}; get it again with `nas get`") from None
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"bundle file {file.name} is a link or no file; only regular files are read")
    if status.st_size != file.size_bytes:
        raise BundleError(
            f"bundle file {file.name} has {status.st_size} bytes but {file.size_bytes} were promised; get it again"
        )
    if sha256_of(path) != file.sha256:
        raise BundleError(f"bundle file {file.name} does not match its SHA-256; get it again with `nas get`")


def _unpack(path: Path, root: Path) -> None:
    """Unpack the manifest and exactly the files that it lists; a member's own path is never used."""
    try:
        with zipfile.ZipFile(path) as archive:
            _unpack_member(archive, MANIFEST_NAME, root, limit_bytes=_MAX_MANIFEST_BYTES)
            manifest = _manifest(root)
            if sum(file.size_bytes for file in manifest.files) > _MAX_BUNDLE_BYTES:
                raise BundleError(f"bundle unpacks to more than {_MAX_BUNDLE_BYTES} bytes")
            for file in manifest.files:
                _unpack_member(archive, file.name, root, limit_bytes=file.size_bytes)
    except RecordError:
        raise
    except _ZIP_FAULTS as error:
        raise BundleError(f"bundle {path} cannot be unpacked ({error}); get it again with `nas get`") from None


def _unpack_member(archive: zipfile.ZipFile, name: str, root: Path, *, limit_bytes: int) -> None:
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise BundleError(f"the zip lacks {name}; its files must lie at the top, not in a folder") from None
    written = 0
    with archive.open(member) as source, (root / name).open("xb") as target:
        while chunk := source.read(_COPY_BYTES):
            written += len(chunk)
            if written > limit_bytes:
                raise BundleError(f"{name} in the zip unpacks to more than the promised {limit_bytes} bytes")
            target.write(chunk)
