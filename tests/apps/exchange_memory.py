"""Programs for test_exchange_memory.py: each tells what it found on standard output, or fails."""

from __future__ import annotations

import os
import resource
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from stdserve._stdserve import Channel, Reader

FORKS = 40

E = TypeVar("E", bound=BaseException)


def polled(descriptor: int) -> bool:
    """Whether it was readable within a minute: who is not woken for so long is not woken at all."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(60_000))


def forks_among_threads() -> str:
    """Threads send and wait all the time, and another forks: none loses anything, no child hangs."""
    from stdserve._stdserve import Channel
    from stdserve.concurrent.exchange import in_turn

    shared = [Channel("one"), Channel("two")]
    private = Channel("one", private=True)
    channels = [*shared, private]
    over = threading.Event()
    sent = [0, 0, 0]
    got = [0, 0, 0]

    def send(which: int) -> None:
        while not over.is_set():
            in_turn(partial(channels[which].send, b"%d" % sent[which]))
            sent[which] += 1
            # Readers are to keep up: what they miss is another test's.
            while sent[which] - got[which] > 1000 and not over.is_set():
                over.wait(0.001)
        in_turn(partial(channels[which].send, b"over"))

    def wait(which: int, reader: Reader) -> None:
        while polled(reader.fileno()):
            for message in reader.take():
                if message == b"over":
                    return
                assert message == b"%d" % got[which], (which, message, got[which])
                got[which] += 1

    readers = [channel.reader() for channel in channels]
    threads = [threading.Thread(target=send, args=(which,)) for which in range(3)]
    threads += [threading.Thread(target=wait, args=(which, reader)) for which, reader in enumerate(readers)]
    mine = Channel("mine").reader()
    descriptor = mine.fileno()
    private_mine = private.reader()
    for thread in threads:
        thread.start()
    for number in range(FORKS):
        while min(got) < number * 20:
            over.wait(0.001)
        pid = os.fork()
        if pid == 0:
            os._exit(in_child(mine, descriptor, private, private_mine, b"%d" % number))
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        # What the child has sent is here, too; its taking took nothing from this one.
        assert polled(descriptor)
        assert mine.take() == [b"%d" % number]
    over.set()
    for thread in threads:
        thread.join()
    assert sent == got, (sent, got)
    return f"{FORKS} children"


def in_child(mine: Reader, parents: int, private: Channel, private_mine: Reader, message: bytes) -> int:
    """A reader of the parent's: its place is where the parent's was, its descriptor is its own."""
    from stdserve._stdserve import Channel
    from stdserve.concurrent.exchange import in_turn

    # Nothing there.
    if mine.take() != [] or private_mine.take() != []:
        return 1
    descriptor = mine.fileno()
    if os.fstat(descriptor).st_ino != os.fstat(mine.fileno()).st_ino:
        return 2
    late = private.reader()
    in_turn(partial(Channel("mine").send, message))
    if not polled(descriptor) or mine.take() != [message] or mine.take() != []:
        return 3
    private.send(b"begun anew")
    for reader in (late, private_mine):
        if not polled(reader.fileno()) or reader.take() != [b"begun anew"]:
            return 4
    return 0


@contextmanager
def address_space(more: int) -> Iterator[None]:
    """Allows so many bytes more than there are."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def raised(kind: type[E]) -> Iterator[list[E]]:
    """What is raised within, in a list."""
    errors: list[E] = []
    try:
        yield errors
    except kind as error:
        errors.append(error)
    else:
        raise AssertionError(f"no {kind.__name__}")


def no_memory() -> str:
    """What cannot be had is an exception, and nothing is lost by it."""
    import stdserve._stdserve as native

    with address_space(1 << 20):
        native.share_exchange_memory()
        with raised(MemoryError):
            native.Channel("name")
    channel = native.Channel("name")
    reader = channel.reader()
    channel.send(b"short")
    longest = bytes(channel.max_message)
    channel.send(longest)
    with address_space(1 << 19):
        found = reader.take()
        assert found == [b"short"]
        with raised(MemoryError):
            reader.take()
    assert reader.take() == [longest]
    return "as before"


def too_many_names() -> str:
    """The last name that there is room for, and one more."""
    from stdserve._stdserve import Channel

    channels = [Channel(str(number)) for number in range(65_536)]
    with raised(RuntimeError) as errors:
        Channel("one more")
    assert "65536 names" in str(errors[0])
    reader = channels[-1].reader()
    Channel("65535").send(b"still")
    assert reader.take() == [b"still"]
    return "as before"


PROGRAMS: dict[str, Callable[[], str]] = {
    program.__name__: program for program in (forks_among_threads, no_memory, too_many_names)
}

if __name__ == "__main__":
    print(PROGRAMS[sys.argv[1]]())
