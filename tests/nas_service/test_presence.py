from __future__ import annotations

import pytest

from nas_service.presence import presence


@pytest.mark.parametrize(
    ("last_seen", "quiet_until", "expected"),
    [
        (None, None, "new"),
        (990.0, None, "here"),
        (969.0, None, "suspect"),
        (939.0, None, "lost"),
        (700.0, 1100.0, "here"),  # it times a model, as it said it would
        (700.0, 960.0, "suspect"),
        (700.0, 930.0, "lost"),
        (995.0, 800.0, "here"),
    ],
)
def test_silence_that_was_not_announced_tells(last_seen, quiet_until, expected):
    assert presence(last_seen, quiet_until, now=1000.0) == expected
