"""Pair packs: what a pair is measured from, in one file: both graphs, a real stream of images, and who decides.

A zip of `pack.json` (records.PackHeader), `little.onnx`, `big.onnx` and `stream.npz`. The stream's arrays are in
edge_agent.pair_stream. One file, so that one SHA-256 names a measurement's whole subject. Standard library only.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from edge_agent.errors import ModelRefusedError
from edge_agent.records import Artifact, PackHeader, RecordError

HEADER, LITTLE, BIG, STREAM = "pack.json", "little.onnx", "big.onnx", "stream.npz"
PACK_FILES = (HEADER, LITTLE, BIG, STREAM)
_MAX_HEADER_BYTES = 1 << 20
_COPY_BYTES = 1 << 20
# RuntimeError: a member that is encrypted, or compressed in a way that Python does not know.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def unpack_pack(path: Path, folder: Path) -> PackHeader:
    """Unpack a pair pack into `folder`, exactly its four files, and return its header.

    Raises:
        ModelRefusedError: If it is no whole pair pack, or unpacks to more than 1 GiB.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if sorted(names) != sorted(PACK_FILES):
                raise ModelRefusedError(
                    f"the pair pack holds {', '.join(names) or 'nothing'} but must hold {', '.join(PACK_FILES)}"
                )
            left = Artifact.MAX_BYTES
            for name in PACK_FILES:
                left -= _unpack(archive, name, folder, limit_bytes=_MAX_HEADER_BYTES if name == HEADER else left)
        return PackHeader.from_json((folder / HEADER).read_bytes(), where=HEADER)
    except _DAMAGE as error:
        raise ModelRefusedError(f"the pair pack is no whole zip ({error}); fetch or export it again") from None
    except RecordError as error:
        raise ModelRefusedError(f"the pair pack's header cannot be used: {error}") from None


def _unpack(archive: zipfile.ZipFile, name: str, folder: Path, *, limit_bytes: int) -> int:
    written = 0
    with archive.open(name) as source, (folder / name).open("xb") as target:
        while chunk := source.read(_COPY_BYTES):
            written += len(chunk)
            if written > limit_bytes:
                raise ModelRefusedError(f"{name} in the pair pack unpacks to more than {limit_bytes} bytes")
            target.write(chunk)
    return written


def write_pack(path: Path, *, header: PackHeader, little: Path, big: Path, stream: bytes) -> None:
    """Write a pair pack of two ONNX files and the bytes of a `stream.npz`."""
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_STORED) as archive:
        archive.writestr(HEADER, header.to_json())
        archive.write(little, LITTLE)
        archive.write(big, BIG)
        archive.writestr(STREAM, stream)
