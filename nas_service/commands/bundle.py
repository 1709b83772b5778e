"""`nas get`: a finalist's bundle, checked and unpacked."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from nas_service.bundle_file import check_free, unpack_bundle
from nas_service.client import Client, save_bundle
from nas_service.commands.console import Console
from nas_service.commands.context import Context, json_option, pass_context
from nas_service.errors import InvalidRequestError
from nas_service.ids import candidate_id, parse_candidate_id


@click.command("get")
@click.argument("job")
@click.argument("candidate")
@click.option(
    "-o", "--out", "folder", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="The folder that becomes the bundle; must be new or empty.",
)  # fmt: skip
@json_option
@pass_context
def get_command(context: Context, job: str, candidate: str, folder: Path, as_json: bool) -> None:
    """Fetch the bundle of a finalist.

    CANDIDATE is its id or its number. Every file is checked against the manifest's SHA-256, and DIR appears whole or
    not at all.
    """
    with context.connect() as client:
        get_bundle(client, context.console, candidate=named_candidate(job, candidate), folder=folder, as_json=as_json)


def named_candidate(job: str, candidate: str) -> str:
    """Return the id of a job's candidate, which may be given whole or as its number.

    Raises:
        InvalidRequestError: The candidate belongs to another job.
    """
    if candidate.isdigit():
        return candidate_id(job, int(candidate))
    if parse_candidate_id(candidate).job_id != job:
        raise InvalidRequestError(f"{candidate} is no candidate of {job}; `nas front {job}` lists its candidates")
    return candidate


def get_bundle(client: Client, console: Console, *, candidate: str, folder: Path, as_json: bool) -> None:
    """Fetch, check and unpack a bundle; write the folder (or the manifest as JSON) to stdout."""
    check_free(folder)
    with tempfile.TemporaryDirectory(prefix="nas-get-") as scratch:
        archive = Path(scratch, "bundle.zip")
        save_bundle(client, candidate, archive)
        manifest = unpack_bundle(archive, folder)
    if as_json:
        console.json(manifest.to_dict())
        return
    console.data(str(folder))
    points = ", ".join(point.name for point in manifest.operating_points)
    console.note(f"{len(manifest.files)} files checked; operating points: {points}")
    console.note(f"try it:  nas-edge predict {folder} IMAGE")
