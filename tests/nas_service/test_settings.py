from __future__ import annotations

from pathlib import Path

import pytest

from nas_service.errors import InvalidRequestError
from nas_service.settings import Settings


def test_an_empty_environment_means_the_default_home_and_nothing_else() -> None:
    expected = Settings(home=Path.home() / ".biglittle-nas")
    assert Settings.from_environment({}) == Settings.from_environment({"NAS_URL": "", "NAS_HOME": ""}) == expected


def test_variables_are_read_and_folders_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {
        "NAS_HOME": "~/nas",
        "NAS_URL": "http://head:8000/",
        "NAS_TOKEN": "nas_x",
        "NAS_STORE": "postgresql+psycopg://nas@head/nas",
        "NAS_FILES": "s3://bucket/nas",
        "NAS_DATA": "data",
        "PATH": "/bin",
    }
    assert Settings.from_environment(environ) == Settings(
        home=Path.home() / "nas",
        url="http://head:8000",
        token="nas_x",
        store_url="postgresql+psycopg://nas@head/nas",
        files_url="s3://bucket/nas",
        data=tmp_path / "data",
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("NAS_URL", "head:8000", r"NAS_URL is 'head:8000' but must begin with http:// or https://, such as"),
        (
            "NAS_STORE",
            "store.sqlite",
            r"NAS_STORE is 'store.sqlite' but must be a database URL, such as sqlite:////srv",
        ),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(name: str, value: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        Settings.from_environment({name: value})


def test_a_relative_home_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="NAS_HOME is 'here' but must be an absolute path"):
        Settings(home=Path("here"))
