"""What the environment says: the one file of the service that reads environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nas_service.errors import InvalidRequestError

DEFAULT_HOME = "~/.biglittle-nas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the service lives and how to reach it.

    Attributes:
        home: the service's folder, absolute (NAS_HOME).
        url: the API's address (NAS_URL); None means the one that `home` remembers.
        token: the bearer token (NAS_TOKEN); None means the admin token kept in `home`.
        store_url: the database (NAS_STORE), such as postgresql+psycopg://...; None means SQLite in `home`.
        files_url: the file store (NAS_FILES), a folder or any fsspec URL; None means a folder in `home`.
        data: the folder that a job's relative data roots lie in (NAS_DATA); None means the working folder.
    """

    home: Path
    url: str | None = None
    token: str | None = None
    store_url: str | None = None
    files_url: str | None = None
    data: Path | None = None

    def __post_init__(self) -> None:
        if not self.home.is_absolute():
            raise InvalidRequestError(f"NAS_HOME is {str(self.home)!r} but must be an absolute path")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise InvalidRequestError(
                f"NAS_URL is {self.url!r} but must begin with http:// or https://, such as http://127.0.0.1:8000"
            )
        if self.store_url is not None and "://" not in self.store_url:
            raise InvalidRequestError(
                f"NAS_STORE is {self.store_url!r} but must be a database URL, such as sqlite:////srv/nas/store.sqlite"
            )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Return the settings that `environ` holds; an empty variable counts as absent.

        Raises:
            InvalidRequestError: a variable has a value that cannot be meant.
        """
        given = {name: value for name, value in environ.items() if name.startswith("NAS_") and value}
        data = given.get("NAS_DATA")
        return cls(
            home=_absolute(given.get("NAS_HOME", DEFAULT_HOME)),
            url=given["NAS_URL"].rstrip("/") if "NAS_URL" in given else None,
            token=given.get("NAS_TOKEN"),
            store_url=given.get("NAS_STORE"),
            files_url=given.get("NAS_FILES"),
            data=None if data is None else _absolute(data),
        )


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))
