"""What is under Exchange: memory that processes share. Processes that are killed: crates/sys/tests."""

from __future__ import annotations

import select
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from stdserve._stdserve import Channel
from stdserve.concurrent.exchange import in_turn

from support.exchanges import new_name
from support.serving import Serve

PROGRAM = Path(__file__).parent / "apps" / "exchange_memory.py"


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("forks_among_threads", "40 children"),
        ("no_memory", "as before"),
        ("too_many_names", "as before"),
    ],
)
def test_programs(what: str, says: str) -> None:
    """Each with code 0, and nothing on its standard error."""
    done = subprocess.run(
        [sys.executable, "-Wignore::DeprecationWarning", str(PROGRAM), what],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr, done.returncode) == (f"{says}\n", "", 0)


@pytest.mark.parametrize("private", [False, True])
def test_a_message_as_long_as_allowed_and_one_byte_more(private: bool) -> None:
    channel = in_turn(partial(Channel, new_name(), private=private))
    reader = channel.reader()
    longest = bytes(range(256)) * (channel.max_message // 256)
    in_turn(partial(channel.send, longest))
    with pytest.raises(ValueError, match="--exchange-memory makes it larger"):
        channel.send(longest + b"!")
    assert reader.take() == [longest]
    assert reader.take() == []


@pytest.mark.parametrize("private", [False, True])
def test_the_descriptor_says_what_take_would(private: bool) -> None:
    channel = in_turn(partial(Channel, new_name(), private=private))
    reader = channel.reader()
    in_turn(partial(channel.send, b"before anybody waits"))
    poll = select.poll()
    poll.register(reader.fileno(), select.POLLIN)
    assert poll.poll(60_000)
    for _ in range(3):
        in_turn(partial(channel.send, b"more"))
    assert len(reader.take(2)) == 2
    assert poll.poll(0)
    assert len(reader.take()) == 2
    assert not poll.poll(0)
    assert reader.take() == []
    reader.close()
    assert poll.poll(0)
    assert reader.closed
    with pytest.raises(ValueError, match="closed"):
        reader.take()


def test_a_gap_at_the_source_stands_in_its_place() -> None:
    channel = Channel(new_name(), private=True)
    reader = channel.reader()
    channel.send(b"one")
    channel.note_missed(3, True)
    channel.send(b"two")
    channel.note_missed(1, False)
    assert reader.take() == [b"one", (3, True), b"two", (1, False)]
    with pytest.raises(ValueError, match="private"):
        in_turn(partial(Channel, new_name())).note_missed(1, True)


def test_no_memory_at_all_says_how_to_have_some(serve: Serve) -> None:
    server = serve("exchange_app:app", exchange_memory="0")
    assert server.wait_exit() == 4
    assert "--exchange-memory is 0; give it a size" in server.log.wait_end()
