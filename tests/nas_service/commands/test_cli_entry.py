from __future__ import annotations

import errno
import io
import subprocess
import sys

import click
import pytest

from nas_service.commands.console import Console
from nas_service.commands.root import report_failure, root, run
from nas_service.errors import ConflictError
from tests.nas_service.commands.conftest import RecordingCluster


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_without_the_service_extra_one_line_says_how_to_install_it():
    code = "import sys; sys.modules['click'] = None; from nas_service.cli import main; sys.exit(main(['jobs']))"
    outcome = python(code)
    assert outcome.returncode == 1
    assert outcome.stdout == ""
    assert outcome.stderr.splitlines() == [
        "nas needs the service's packages (click is missing); install them: pip install 'biglittle-nas[service]'"
    ]


def test_the_entry_module_imports_nothing_but_the_standard_library():
    code = (
        "import sys, nas_service.cli; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'click', 'httpx', 'pydantic', 'numpy', 'cluster'}))"
    )
    assert python(code).stdout == "[]\n"


def test_help_is_quick_because_plotting_and_learning_stay_unimported():
    code = (
        "import sys; from nas_service.cli import main; main(['--help']); "
        "print(sorted({'torch', 'ray', 'plotly', 'scipy', 'cluster'} & set(sys.modules)), file=sys.stderr)"
    )
    outcome = python(code)
    assert "Search big/little network pairs" in outcome.stdout
    assert outcome.stderr == "[]\n"


def test_every_command_of_the_contract_is_there():
    words = "demo up down status doctor submit jobs show logs stop resume front get report bench board token"
    assert list(root.commands) == words.split()
    boards = "add agreement drain host-key ls rm show table undrain"
    assert sorted(root.commands["board"].commands) == boards.split()  # type: ignore[attr-defined]


@pytest.mark.parametrize("arguments", [["--nonsense"], ["jobs", "--limit", "many"], ["submit"], ["fly"], []])
def test_bad_usage_exits_2_with_nothing_on_stdout(nas, arguments):
    outcome = nas(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Usage: nas" in outcome.err


def test_a_command_without_a_service_says_how_to_start_one(nas):
    outcome = nas("jobs")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "error: no service is running; start it with `nas up`, or set NAS_URL to one elsewhere\n"


def test_an_unreachable_service_is_named(nas, monkeypatch):
    monkeypatch.setenv("NAS_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("nas_service.connection.RETRY_DELAYS_S", ())
    outcome = nas("jobs")
    assert outcome.code == 1
    assert "no answer from the service at http://127.0.0.1:9" in outcome.err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConflictError("board pi-4 is enrolled"), 1, "error: board pi-4 is enrolled\n"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.yaml"), 1, "error: x.yaml: No such file\n"),
        (KeyboardInterrupt(), 1, "error: interrupted\n"),
        (click.BadParameter("what"), 2, "error: Invalid value: what\n"),
        (ZeroDivisionError("by 0"), 1, "error: unexpected ZeroDivisionError: by 0; run it again with --debug to see "
                                       "where, and report it\n"),
    ],
)  # fmt: skip
def test_failures_become_one_line_and_an_exit_code(error, code, text):
    err = io.StringIO()
    assert report_failure(Console(out=io.StringIO(), err=err), error) == code
    assert err.getvalue() == text


def test_debug_shows_the_traceback_before_or_after_the_command(nas, cluster, monkeypatch):
    monkeypatch.setattr(RecordingCluster, "down", lambda *_, **__: 1 / 0)
    assert "Traceback" not in nas("down").err
    assert "ZeroDivisionError" in nas("--debug", "down").err.splitlines()[-2]
    assert "Traceback" in nas("down", "--debug").err


def test_a_reader_that_leaves_early_is_no_error():
    code = (
        "import sys; from nas_service.commands.root import run; import click\n"
        "from nas_service.commands import root\n"
        "@click.command('flood')\ndef flood():\n    [click.echo('x' * 1000) for _ in range(10000)]\n"
        "root.root.add_command(flood); sys.exit(run(['flood'], None))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_version_is_the_distributions(capsys):
    assert run(["--version"], RecordingCluster()) == 0
    assert capsys.readouterr().out.startswith("nas, version ")
