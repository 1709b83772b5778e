from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from nas_service.commands.reference import reference
from nas_service.commands.root import root

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def test_the_reference_page_is_up_to_date():
    advice = "docs/cli.md is out of date; run: python -m nas_service.commands.reference > docs/cli.md"
    assert PAGE.read_text() == reference(root), advice


def test_the_reference_has_every_command_with_its_options():
    page = reference(root)
    assert page.count("\n## `nas ") == sum(1 for _ in commands(root))
    assert "| `--max-latency-ms X` | Keep points at most this slow." in page


def commands(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from commands(command)
        else:
            yield command
