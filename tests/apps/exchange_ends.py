"""Programs that fork with exchanges in use, or end while threads wait: `exchange_ends.py WHAT [URL]`."""

from __future__ import annotations

import errno
import os
import queue
import resource
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from stdserve.concurrent import Exchange, Subscription


class Keep:
    """A task that keeps what it is sent."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def send(self, message: object) -> None:
        """Keeps the message."""
        self.messages.put(message)

    def get(self) -> object:
        """The next one."""
        return self.messages.get(timeout=30)


def in_child(work: Callable[[], object]) -> int:
    """Runs `work` in a forked child; its pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    return pid


def ended(pid: int) -> int:
    """The exit code of a child."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fork(*url: str) -> None:
    """Subscriptions and attached tasks go on in parent and child, each for itself, from the fork on."""
    exchange = Exchange[str]("fork", *url)
    subscription, keep = exchange.subscribe(), Keep()
    exchange.attach(keep)
    for text in ("one", "two", "three"):
        exchange.send(text)
    # The first is taken, and two more with it; the parent's copy of these is not the child's.
    assert subscription.get(30) == "one"
    assert [keep.get() for _ in range(3)] == ["one", "two", "three"]
    ready, go = os.pipe()

    def child() -> None:
        os.write(go, b".")
        assert subscription.get(30) == "four", "the child has it from the fork on"
        assert keep.get() == "four"
        exchange.send("five")
        assert subscription.get(30) == "five"
        assert keep.get() == "five"
        assert subscription.missed == 0

    pid = in_child(child)
    os.read(ready, 1)
    exchange.send("four")
    assert [subscription.get(30) for _ in range(4)] == ["two", "three", "four", "five"]
    assert [keep.get() for _ in range(2)] == ["four", "five"]
    print("child:", ended(pid))


def fork_local() -> None:
    """The exchange of one process is another one in the child."""
    exchange = Exchange[str]()
    subscription, keep = exchange.subscribe(), Keep()
    exchange.attach(keep)
    exchange.send("one")
    descriptor = subscription.fileno()

    def child() -> None:
        exchange.send("two")
        assert select.select([subscription], [], [], 30)[0]
        assert subscription.get(30) == "two"
        assert not select.select([subscription], [], [], 0)[0]
        assert [keep.get(), keep.get()] == ["one", "two"], "a copy of the parent's list, and its own"

    print("child:", ended(in_child(child)))
    assert select.select([descriptor], [], [], 0)[0], "the child has not touched it"
    assert subscription.get_nowait() == "one"


def fork_in_task() -> None:
    """A task that forks, and returns in the child: there it ends."""
    exchange = Exchange[str]("fork in a task")
    children: queue.SimpleQueue[int] = queue.SimpleQueue()

    class Forker:
        def send(self, _: str) -> None:
            pid = os.fork()
            if pid:
                children.put(pid)

    keep = Keep()
    exchange.attach(Forker())
    exchange.attach(keep)
    exchange.send("one")
    print("child:", ended(children.get(timeout=30)))
    assert keep.get() == "one"
    assert keep.messages.empty()


def no_descriptors() -> None:
    """An exchange that cannot have a descriptor keeps no other from its tasks, and is served when it can."""
    reported: queue.SimpleQueue[object] = queue.SimpleQueue()
    threading.excepthook = lambda details: reported.put(details.exc_value)
    others, late = Exchange[str]("others"), Exchange[str]("late")
    kept, kept_late = Keep(), Keep()
    others.attach(kept)
    others.send("one")
    assert kept.get() == "one"
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    late.attach(kept_late)
    failed = reported.get(timeout=30)
    assert isinstance(failed, OSError)
    assert failed.errno == errno.EMFILE
    others.send("two")
    assert kept.get() == "two"
    late.send("three")
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert kept_late.get() == "three"
    print("served")


def no_thread() -> None:
    """A task is not attached where no thread can be had for it, and can be later; nothing is left behind."""
    exchange, keep = Exchange[str]("no thread"), Keep()
    start = threading.Thread.start

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threading.Thread.start = refuse  # type: ignore[assignment, method-assign]
    descriptors = set()
    for _ in range(3):
        try:
            exchange.attach(keep)
        except RuntimeError:
            descriptors.add(len(os.listdir("/proc/self/fd")))
    threading.Thread.start = start  # type: ignore[method-assign]
    exchange.attach(keep)
    exchange.send("one")
    assert keep.get() == "one"
    print(len(descriptors))


def stopped() -> None:
    """Who waits meanwhile waits quietly, and is woken by what comes after; other threads go on."""
    turns, meanwhile, ends = 0, 0, threading.Event()

    def run() -> None:
        nonlocal turns
        while not ends.wait(0.001):
            turns += 1

    runner = threading.Thread(target=run)
    exchange, flood = Exchange[str]("stopped"), Exchange[bytes]("flood")
    child = os.fork()
    while child == 0:
        flood.send(bytes(1 << 19))
    runner.start()
    while True:
        os.kill(child, signal.SIGSTOP)
        os.waitpid(child, os.WUNTRACED)
        before = turns
        try:
            exchange.send("before")
        except TimeoutError:
            meanwhile = turns - before
            break
        os.kill(child, signal.SIGCONT)
    subscription = exchange.subscribe()
    quiet = not select.select([subscription], [], [], 0)[0]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    exchange.send("after")
    ends.set()
    runner.join()
    print(
        meanwhile > 5,
        quiet,
        select.select([subscription], [], [], 30)[0] == [subscription],
        subscription.get(timeout=30),
    )


def echo(name: str, *url: str) -> None:
    """Prints what it gets, for ever."""
    with Exchange[Any](name, *url).subscribe() as subscription:
        print("ready", flush=True)
        for message in subscription:
            print(message, flush=True)


def exits(times: str, *url: str) -> None:
    """Ends so many times while threads wait for messages and messages come."""

    def wait(subscription: Subscription[Any]) -> None:
        for _ in subscription:
            pass

    Exchange("exits", *url)  # what is imported for it, once
    codes = []
    for _ in range(int(times) // 5):
        children = []
        for _ in range(5):
            pid = os.fork()
            if pid == 0:
                local, named = Exchange[int](), Exchange[int]("exits", *url)
                named.attach(Keep())
                for subscription in (
                    local.subscribe(),
                    local.subscribe(),
                    named.subscribe(),
                    named.subscribe(),
                ):
                    threading.Thread(target=wait, args=(subscription,), daemon=True).start()
                for number in range(20):
                    local.send(number)
                    named.send(number)
                sys.exit(0)  # the interpreter's orderly end
            children.append(pid)
        codes += [ended(pid) for pid in children]
    print(len(codes), set(codes))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
