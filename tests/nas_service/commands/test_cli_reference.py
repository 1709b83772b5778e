from __future__ import annotations

from pathlib import Path

from nas_service.commands.reference import reference
from nas_service.commands.root import root

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def test_the_reference_page_is_up_to_date():
    advice = "docs/cli.md is out of date; run: python -m nas_service.commands.reference > docs/cli.md"
    assert PAGE.read_text() == reference(root), advice


def test_the_reference_has_every_command_with_its_options():
    page = reference(root)
    assert page.count("\n## `nas ") == 23
    assert "| `--max-latency-ms X` | Keep points at most this slow." in page
