"""Exchange: in one process, across workers, its edges. Interrupted: test_exchange_interrupted.py. Over Redis:
test_exchange_redis.py.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdserve.concurrent import Exchange, Missed, ShutDown, get_exchange

from support.exchanges import Keep, all_there, ask, deliver, new, new_name, operations
from support.serving import Serve
from support.waiting import PATIENCE, until

PROGRAM = Path(__file__).parent / "apps" / "exchange_ends.py"


@pytest.fixture(params=["nameless", "named"])
def exchange(request: pytest.FixtureRequest) -> Exchange[Any]:
    """One that no other test uses."""
    return new(request.param)


# across workers


@pytest.mark.timeout(600)  # of a machine that does much else
def test_four_workers_get_100_000_messages(serve: Serve) -> None:
    """Each once and all in one order; who reads last is told how many the memory did not hold."""
    server = serve("exchange_app:app", workers=4, exchange_memory="2MiB")
    all_there(server)
    assert len(ask(server, "prepare")) == 4
    reports = ask(server, "exchange", rounds=20, size=1250, seconds=400)
    assert len({report["pid"] for report in reports}) == 4
    for report in reports:
        assert (report["received"], report["wrong"], report["missed"]) == (100_000, 0, 0)
        assert report["slow_told"] > 0
        assert report["slow_received"] + report["slow_told"] == 100_000
    assert len({report["order"] for report in reports}) == 1


def test_a_worker_that_is_killed_leaves_the_others_served(serve: Serve) -> None:
    """What it sent up to then all have got; what the others send goes on; the new worker takes part."""
    server = serve("exchange_app:app", workers=4)
    before = all_there(server)
    ask(server, "storm")
    until(lambda: all(len(r["from"]) == 4 for r in ask(server, "status")), "all hear all")
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    after = all_there(server, but=victim)
    ask(server, "storm")
    survivors = before & after
    first = {report["pid"]: report for report in ask(server, "status")}

    def heard(reports: dict[int, dict[str, Any]], hearer: int, sender: int) -> int:
        return int(reports[hearer]["from"].get(str(sender), [0])[0])

    def went_on() -> bool:
        now = {report["pid"]: report for report in ask(server, "status")}
        return now.keys() == after and all(
            heard(now, hearer, sender) > heard(first, hearer, sender) + 500
            for hearer in survivors
            for sender in after
        )

    until(went_on, "messages from all to all")
    reports = [report for report in ask(server, "status") if report["pid"] in survivors]
    assert len(reports) == 3
    for report in reports:
        assert report["missed"] == 0
        assert all(wrong == 0 for _, _, wrong in report["from"].values())
    assert len({report["from"][str(victim)][1] for report in reports}) == 1


def test_tasks_attached_before_the_fork_are_called_in_each_worker(serve: Serve) -> None:
    """With --preload the import begins no thread, which the fork audit would refuse; the workers do."""
    server = serve("exchange_preloaded:app", workers=2, preload=True)
    server.wait_workers(2)
    assert server.get("/?hello").body == b"hello True 1"


# messages


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
#: Strings of any code points, also those that UTF-8 does not know.
texts = st.text(st.characters(exclude_categories=[]))


@settings(max_examples=100, deadline=None)
@given(plain | texts | st.binary() | st.lists(texts))
def test_messages_arrive_as_they_were_sent(message: object) -> None:
    """Equal, and of the same type."""
    exchange = get_exchange("as they were")
    with exchange.subscribe() as subscription:
        exchange.send(message)
        arrived = subscription.get(PATIENCE)
    assert arrived == message
    assert repr(arrived) == repr(message)


def cycle() -> list[Any]:
    """A list that contains itself."""
    found: list[Any] = [1]
    found.append({"again": found})
    return found


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"a": [1, {2}]}, r"message\['a'\]\[1\] is of the type set"),
        ([{"a": {3: 1}}], r"message\[0\]\['a'\] has the key 3: keys are str, not int"),
        ({"a": (1, float("inf"))}, r"message\['a'\]\[1\] is inf"),
        ([b"x"], r"message\[0\] is of the type bytes"),
        (object(), "message is of the type object: .* give dumps and loads"),
        (cycle(), r"message\[1\]\['again'\] contains itself"),
    ],
)
def test_what_cannot_be_sent_is_named(message: object, says: str) -> None:
    """With the place where it stands."""
    with pytest.raises(TypeError, match=says):
        Exchange("refuses").send(message)


def test_messages_by_functions_of_the_caller() -> None:
    """They make and read the bytes; what they raise ends nothing."""
    exchange = Exchange[Any]("pickled", dumps=pickle.dumps, loads=pickle.loads)
    plainly = Exchange[Any]("pickled")
    with exchange.subscribe() as subscription, plainly.subscribe() as unread:
        exchange.send({1, 2})
        plainly.send("plain")
        exchange.send(ValueError)
        assert subscription.get(PATIENCE) == {1, 2}
        with pytest.raises(ValueError, match="without the dumps"):
            subscription.get(PATIENCE)
        assert subscription.get(PATIENCE) is ValueError
        with pytest.raises(ValueError, match="no loads here"):
            unread.get(PATIENCE)
        assert unread.get(PATIENCE) == "plain"
    with pytest.raises(TypeError, match="not bytes"):
        Exchange("pickled", dumps=lambda message: 5, loads=pickle.loads).send(1)  # type: ignore[arg-type,return-value]


def test_what_an_exchange_is_made_with_is_looked_at() -> None:
    """Where nothing sensible could come of it."""
    for wrong in ({"dumps": pickle.dumps}, {"url": "redis://localhost"}, {"loads": pickle.loads}):
        with pytest.raises(TypeError):
            Exchange(None, **wrong)
    with pytest.raises(TypeError, match="given together"):
        Exchange("half", dumps=pickle.dumps)
    with pytest.raises(ValueError, match="empty"):
        Exchange("")
    with pytest.raises(TypeError, match="without a name"):
        Exchange("sized").subscribe(maxsize=3)
    with pytest.raises(ValueError, match="at least 1"):
        Exchange().subscribe(maxsize=0)
    with pytest.raises(ValueError, match="of 2097153 bytes is longer than 1048576,"):
        Exchange("long").send(bytes(2 << 20))


# subscriptions


def test_the_edges_of_a_subscription(exchange: Exchange[Any]) -> None:
    """Nothing there, too late, closed, and what was sent before it was made."""
    exchange.send("before")
    subscription = exchange.subscribe()
    with pytest.raises(queue.Empty):
        subscription.get_nowait()
    with pytest.raises(queue.Empty):
        subscription.get(timeout=0.01)
    with pytest.raises(ValueError, match="non-negative"):
        subscription.get(timeout=-1)
    exchange.send("after")
    assert subscription.get() == "after"
    exchange.send("not read")
    subscription.close()
    subscription.close()
    assert subscription.closed
    assert list(subscription) == []
    for what in (subscription.get, subscription.get_nowait, subscription.fileno):
        with pytest.raises(ShutDown):
            what()


def test_closing_ends_who_waits(exchange: Exchange[Any]) -> None:
    """Threads in `get()` and in a loop, when another closes."""
    subscription, ends = exchange.subscribe(), Keep()

    def get() -> None:
        with contextlib.suppress(ShutDown):
            while True:
                ends.send(subscription.get())
        ends.send("get ended")

    def iterate() -> None:
        for message in subscription:
            ends.send(message)
        ends.send("loop ended")

    threads = [threading.Thread(target=what) for what in (get, iterate, get, iterate)]
    for thread in threads:
        thread.start()
    for number in range(100):
        exchange.send(number)
    assert sorted(ends.get() for _ in range(100)) == list(range(100)), "each message to one of them"
    subscription.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(ends.get() for _ in threads) == ["get ended"] * 2 + ["loop ended"] * 2


def test_a_burst_wakes_all_who_wait(exchange: Exchange[Any]) -> None:
    """What one thread has taken in advance is not kept from the others."""
    subscription, meet = exchange.subscribe(), threading.Barrier(4)

    def get() -> None:
        subscription.get(PATIENCE)
        meet.wait(PATIENCE)  # until all have got one

    for _ in range(20):
        threads = [threading.Thread(target=get) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(3):
            exchange.send(number)
        meet.wait(PATIENCE)
        for thread in threads:
            thread.join(PATIENCE)
    assert not meet.broken


def test_the_descriptor_is_readable_while_there_is_something(exchange: Exchange[Any]) -> None:
    """Also for what was taken in advance before somebody asked for it."""
    subscription = exchange.subscribe()
    for number in range(100):
        exchange.send(number)
    assert subscription.get(PATIENCE) == 0

    def readable(timeout: float = 0) -> bool:
        return bool(select.select([subscription], [], [], timeout)[0])

    for number in range(1, 100):
        assert readable(PATIENCE)
        assert subscription.get_nowait() == number
    assert not readable()
    for number in range(3):
        exchange.send(number)
        assert readable(PATIENCE)
    assert [subscription.get_nowait() for _ in range(3)] == [0, 1, 2]
    assert not readable()
    descriptor = subscription.fileno()
    subscription.close()
    assert select.select([descriptor], [], [], PATIENCE)[0]


def test_a_slow_subscriber_is_told_exactly() -> None:
    """Named: what the memory does not hold. It costs nobody anything: the memory is what it was."""
    exchange = new("named")
    with exchange.subscribe() as slow:
        for number in range(150_000):
            exchange.send(b"%0100d" % number)
        first = slow.get(PATIENCE)
        assert isinstance(first, Missed)
        assert first.exact
        following = first.count
        with contextlib.suppress(queue.Empty):
            while True:
                message = slow.get_nowait()
                assert message == b"%0100d" % following
                following += 1
        assert following == 150_000
        assert slow.missed == first.count


def test_a_slow_subscriber_within_a_process_is_told_exactly() -> None:
    """Nameless: the oldest give way."""
    exchange = Exchange[int]()
    with exchange.subscribe(maxsize=10) as slow, exchange.subscribe() as default:
        for number in range(1500):
            exchange.send(number)
        assert [slow.get_nowait() for _ in range(11)] == [Missed(1490), *range(1490, 1500)]
        assert default.get_nowait() == Missed(500)
        assert slow.missed == 1490


def test_the_past_is_what_the_memory_has() -> None:
    """From the beginning, then from the oldest that is there; what is to come follows."""
    exchange = Exchange(new_name())
    exchange.send(0)
    with exchange.subscribe(past=True) as early, exchange.subscribe() as late:
        exchange.send(1)
        assert [early.get_nowait(), early.get_nowait(), late.get_nowait()] == [0, 1, 1]
        with pytest.raises(queue.Empty):
            early.get_nowait()
    long = "x" * 100_000
    for _ in range(200):
        exchange.send(long)
    with exchange.subscribe(past=True) as subscription:
        missed = subscription.get_nowait()
        assert isinstance(missed, Missed)
        assert missed.exact
        there = 0
        with contextlib.suppress(queue.Empty):
            while True:
                assert subscription.get_nowait() == long
                there += 1
        assert there > 40
        assert missed.count + there == 202
        exchange.send(3)
        assert subscription.get_nowait() == 3
    with pytest.raises(TypeError, match="past"):
        Exchange().subscribe(past=True)
    with pytest.raises(TypeError, match="past"):
        exchange.subscribe(Keep(), past=True)  # type: ignore[call-overload]


# attached tasks


def test_what_a_task_raises_is_reported_and_the_others_are_served(
    exchange: Exchange[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As what ends a thread is; it stays attached."""
    reported: queue.SimpleQueue[Any] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda details: reported.put(details.exc_value))

    class Broken:
        def send(self, message: object) -> None:
            raise LookupError(message)

    keep = Keep()
    with exchange.subscribe(Broken(), keep):
        exchange.send(1)
        exchange.send(2)
        assert [keep.get(), keep.get()] == [1, 2]
        assert [str(reported.get(timeout=PATIENCE)) for _ in range(2)] == ["1", "2"]


def test_a_hook_that_fails_ends_no_service(exchange: Exchange[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the application's `threading.excepthook` raises goes to `sys.excepthook`."""
    told: queue.SimpleQueue[str] = queue.SimpleQueue()

    def fail(_: object) -> None:
        raise RuntimeError("the hook")

    class Broken:
        def send(self, message: object) -> None:
            raise LookupError(message)

    monkeypatch.setattr(threading, "excepthook", fail)
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, traceback: told.put(str(value)))
    keep = Keep()
    with exchange.subscribe(Broken(), keep):
        exchange.send(1)
        assert keep.get() == 1
    assert told.get(timeout=PATIENCE) == "the hook"


def test_loads_that_would_end_the_thread_ends_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """SystemExit is taken for what any other exception is: the thread calls the tasks of all exchanges."""
    reported: queue.SimpleQueue[Any] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda details: reported.put(details.exc_type))
    keep = Keep()

    def leave(_: bytes) -> object:
        raise SystemExit

    leaving = Exchange[Any](new_name(), dumps=lambda _: b"", loads=leave)
    staying = Exchange[str](new_name())
    with leaving.subscribe(Keep()), staying.subscribe(keep):
        leaving.send("go")
        assert reported.get(timeout=PATIENCE) is SystemExit
        staying.send("here")
        assert keep.get() == "here"


def test_attach_and_detach_as_in_the_cookbook(exchange: Exchange[Any]) -> None:
    """Twice is once; what is not attached cannot be detached; a context detaches, whatever happens."""
    keep = Keep()
    exchange.attach(keep)
    exchange.attach(keep)
    exchange.send("once")
    assert keep.get() == "once"
    exchange.detach(keep)
    with pytest.raises(KeyError):
        exchange.detach(keep)
    with pytest.raises(KeyError), exchange.subscribe(keep):
        exchange.detach(keep)
    exchange.send("to nobody")
    with exchange.subscribe(keep):
        exchange.send("last")
        assert keep.get() == "last"
    assert keep.messages.empty()


def test_what_has_no_send_is_refused_where_it_is_attached(exchange: Exchange[Any]) -> None:
    """It was taken, and every message ended in an AttributeError of another thread."""
    function: Any = print
    with pytest.raises(TypeError, match=r"send\(message\), and builtin_function_or_method has none"):
        exchange.attach(function)
    with pytest.raises(TypeError, match="has none"), exchange.subscribe(Keep(), function):
        pass


def test_a_task_of_several_blocks_is_attached_until_the_last_ends(exchange: Exchange[Any]) -> None:
    """Nested, and overlapping as those of threads are; an `attach()` before or meanwhile outlasts them."""
    keep, twice = Keep(), Keep()

    def arrives(message: str, *tasks: Keep) -> None:
        exchange.send(message)
        assert [task.get() for task in tasks] == [message] * len(tasks)

    with exchange.subscribe(keep):
        with exchange.subscribe(keep, twice, twice):
            arrives("inner", keep, twice)
        arrives("outer", keep)
    exchange.send("to nobody")
    first, second = exchange.subscribe(keep), exchange.subscribe(keep)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    arrives("second", keep)
    exchange.attach(keep)
    second.__exit__(None, None, None)
    with exchange.subscribe(keep):
        pass
    arrives("attached", keep)
    exchange.detach(keep)
    with pytest.raises(KeyError):
        exchange.detach(keep)
    with exchange.subscribe(twice):
        arrives("last", twice)
    assert keep.messages.empty()
    assert twice.messages.empty()


def test_a_task_within_a_process_is_called_by_the_sender() -> None:
    """With the object itself."""
    exchange, message, calls = Exchange[object](), object(), []

    class Task:
        def send(self, message: object) -> None:
            calls.append((message, threading.current_thread()))

    exchange.attach(Task())
    exchange.send(message)
    assert calls == [(message, threading.current_thread())]


def test_tasks_behind_a_slow_one_are_bounded() -> None:
    """Who attaches meanwhile gets only what is sent from then on; those before are told what they missed."""
    exchange, inside, go = new("named"), threading.Event(), threading.Event()

    class Slow:
        def send(self, message: object) -> None:
            inside.set()
            go.wait(PATIENCE)

    early, late = Keep(), Keep()
    with exchange.subscribe(Slow(), early):
        exchange.send(-1)
        assert inside.wait(PATIENCE)
        for number in range(5000):
            exchange.send(number)
        exchange.attach(late)
        for number in range(5000, 5100):
            exchange.send(number)
            with exchange.subscribe(Keep()):
                pass
        exchange.detach(late)
        exchange.attach(late)
        exchange.send("last")
        go.set()
        assert late.get() == "last"
        exchange.detach(late)
        assert early.get() == -1
        missed = early.get()
        assert isinstance(missed, Missed)
        assert missed.count >= 4000
        following = missed.count
        while (message := early.get()) != "last":
            assert isinstance(message, Missed) or message == following
            following += message.count if isinstance(message, Missed) else 1
        assert following == 5100


@pytest.mark.parametrize("kind", ["nameless", "named"])
@settings(max_examples=100, deadline=None)
@given(operations=operations)
def test_delivery(kind: str, operations: list[tuple[str, int]]) -> None:
    """In any order of attach, detach, send, subscribe and close."""
    exchange = Exchange[Any]() if kind == "nameless" else get_exchange("delivery")
    deliver(exchange, operations, detached_get_all=kind == "nameless")


# processes


def test_get_exchange_is_the_same_object() -> None:
    """For the same name, in any thread."""
    found: queue.SimpleQueue[Exchange[Any]] = queue.SimpleQueue()
    threads = [threading.Thread(target=lambda: found.put(get_exchange("the same"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(found.get()) for _ in threads}) == 1
    assert get_exchange("the same").name == "the same"


@pytest.mark.parametrize(
    ("what", "says"),
    [
        pytest.param("fork", "child: 0", id="a_child_goes_on_from_the_fork"),
        pytest.param("fork_local", "child: 0", id="a_child_has_nameless_exchanges_of_its_own"),
        pytest.param("fork_in_task", "child: 0", id="a_task_may_fork"),
        pytest.param("no_descriptors", "served", id="no_descriptor_for_one_exchange"),
        pytest.param("no_thread", "1", id="no_thread_for_the_tasks"),
        pytest.param("stopped", "True True True after", id="a_writer_that_was_stopped_with_the_lock"),
        pytest.param("exits 50", "50 {0}", id="the_interpreter_ends_while_threads_wait"),
    ],
)
def test_programs_that_fork_or_end(what: str, says: str) -> None:
    """Each with code 0, and nothing on its standard error."""
    done = subprocess.run(
        [sys.executable, "-Wignore::DeprecationWarning", str(PROGRAM), *what.split()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr, done.returncode) == (f"{says}\n", "", 0)
