"""What happens to a steady load when processes are told to change, or die.

The client asks for 2,000 requests a second and counts every answer; see support/steady.py. Only the end of a
connection that was used before, before any byte of an answer, counts as a retry. The events, and what may
fail in each, stand in support/events.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.events import EVENTS, Stage
from support.serving import Serve


@pytest.mark.parametrize("event", EVENTS)
def test_loses_nothing(serve: Serve, tmp_path: Path, event: str) -> None:
    """Every request is accounted for, and none has failed that may not."""
    try:
        outcome = EVENTS[event](Stage(serve, tmp_path))
    except PermissionError as error:
        pytest.skip(str(error))
    print(outcome)
    assert outcome.wrong == {}
    counts = outcome.counts
    assert counts.good + counts.lost == counts.sent
