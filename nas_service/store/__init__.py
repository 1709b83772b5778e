"""The store: everything that must survive a process, behind one door."""

from __future__ import annotations

from types import TracebackType

from nas_service.home import Home
from nas_service.store.candidates import CandidateStore
from nas_service.store.database import Database
from nas_service.store.files import FileStore, open_files
from nas_service.store.fleet import FleetStore
from nas_service.store.jobs import JobStore
from nas_service.store.tokens import TokenStore

__all__ = ["Store"]


class Store:
    """The parts of the store over one database and one place for files.

    Attributes:
        database: the connections.
        files: content-addressed bytes.
        jobs: jobs, their states and events.
        candidates: candidates and the searchers' states.
        tokens: who may do what.
        fleet: boards, leases and measurements.
    """

    def __init__(self, database: Database, files: FileStore) -> None:
        self.database = database
        self.files = files
        self.jobs = JobStore(database)
        self.candidates = CandidateStore(database)
        self.tokens = TokenStore(database)
        self.fleet = FleetStore(database)

    @classmethod
    def open(cls, home: Home, *, store_url: str | None = None, files_url: str | None = None) -> Store:
        """Return the store of `home`, its tables brought up to date.

        Args:
            home: where SQLite and the files lie by default.
            store_url: another database, such as postgresql+psycopg://nas@host/nas.
            files_url: another place for files: a folder or any fsspec URL.

        Raises:
            InvalidRequestError: a URL cannot be used.
            RetryableError: the database cannot be reached now.
            ConflictError: the store was written by a newer version.
        """
        database = Database(store_url or home.store_url)
        database.migrate()
        return cls(database, open_files(files_url or home.files))

    def close(self) -> None:
        """Close the database's connections."""
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
