"""A bundle's zip: checked against its manifest and unpacked whole, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path

from edge_agent.records import BundleFile, Manifest, RecordError
from nas_service.errors import ConflictError, NasError

MANIFEST = "bundle.json"
MAX_MANIFEST_BYTES = 16 << 20
MAX_FILE_BYTES = 1 << 30

# RuntimeError: a member that is encrypted, or compressed in a way that Python does not know.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def unpack_bundle(archive: Path, folder: Path) -> Manifest:
    """Check a bundle's zip and unpack it as `folder`; return its manifest.

    Only files that the manifest names are written, each with the size and SHA-256 it promises. They appear in one step.

    Args:
        archive: The zip.
        folder: Where to; must not exist yet, or be empty.

    Raises:
        ConflictError: The folder holds something.
        NasError: The zip is damaged or is not what its manifest says.
    """
    check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        try:
            with zipfile.ZipFile(archive) as zipped:
                manifest = _unpack(zipped, part)
        except _DAMAGE as error:
            raise NasError(f"the bundle is no whole zip ({error}); get it again") from None
        os.chmod(part, 0o755)
        if folder.exists():
            folder.rmdir()
        os.replace(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return manifest


def check_free(folder: Path) -> None:
    """Raise ConflictError unless `folder` does not exist or is an empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(f"{folder} exists and is not an empty folder; name another, or remove it first")


def _unpack(zipped: zipfile.ZipFile, part: Path) -> Manifest:
    members = {info.filename: info for info in zipped.infolist() if not info.is_dir()}
    if MANIFEST not in members:
        raise NasError(f"the bundle has no {MANIFEST}, only: {', '.join(sorted(members)) or 'nothing'}; get it again")
    text = _read(zipped, members[MANIFEST], limit_bytes=MAX_MANIFEST_BYTES)
    try:
        manifest = Manifest.from_json(text)
    except RecordError as error:
        raise NasError(f"the bundle's {MANIFEST} is not valid: {error}") from None
    names = {file.name for file in manifest.files}
    if missing := sorted(names - set(members)):
        raise NasError(f"the bundle lacks {', '.join(missing)}, which its manifest names; get it again")
    if extra := sorted(set(members) - names - {MANIFEST}):
        raise NasError(
            f"the bundle holds {', '.join(extra)}, which its manifest does not name; it is not to be trusted"
        )
    for file in manifest.files:
        (part / file.name).write_bytes(_checked(zipped, members[file.name], file))
    (part / MANIFEST).write_bytes(text)
    return manifest


def _checked(zipped: zipfile.ZipFile, info: zipfile.ZipInfo, file: BundleFile) -> bytes:
    if file.size_bytes > MAX_FILE_BYTES:
        raise NasError(f"the bundle's {file.name} claims {file.size_bytes} bytes; at most {MAX_FILE_BYTES} are allowed")
    data = _read(zipped, info, limit_bytes=file.size_bytes)
    digest = hashlib.sha256(data).hexdigest()
    if len(data) != file.size_bytes or digest != file.sha256:
        raise NasError(
            f"the bundle's {file.name} has {len(data)} bytes with SHA-256 {digest[:12]} but its manifest promises "
            f"{file.size_bytes} with {file.sha256[:12]}; get it again"
        )
    return data


def _read(zipped: zipfile.ZipFile, info: zipfile.ZipInfo, *, limit_bytes: int) -> bytes:
    with zipped.open(info) as member:  # a zip's own sizes are not believed
        data = member.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise NasError(
            f"the bundle's {info.filename} is longer than the {limit_bytes} bytes it should have; get it again"
        )
    return data
