"""Exchange over Redis: the server that is stopped, cut off, filled with other things; forks and ends."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.crc import key_slot
from stdserve.concurrent import Exchange, Missed

from support.exchanges import Keep, RedisServer, all_there, ask, deliver, need_redis, new_name, operations
from support.serving import Serve
from support.waiting import PATIENCE, until

PROGRAM = Path(__file__).parent / "apps" / "exchange_ends.py"


@pytest.fixture
def start(short_path: Path) -> Iterator[Callable[[bool], RedisServer]]:
    """Starts a server, which ends with the test."""
    need_redis()
    started = []

    def begin(keeps_data: bool) -> RedisServer:
        started.append(RedisServer(short_path, keeps_data=keeps_data))
        return started[-1]

    yield begin
    for server in started:
        server.stop()


@pytest.fixture
def server(start: Callable[[bool], RedisServer]) -> RedisServer:
    """One that forgets."""
    return start(False)


def test_four_workers_get_all_messages(serve: Serve, server: RedisServer) -> None:
    """Each once and all in one order."""
    ours = serve("exchange_app:app", workers=4, env={"EXCHANGE_URL": server.url})
    all_there(ours)
    assert len(ask(ours, "prepare")) == 4
    reports = ask(ours, "exchange", rounds=4, size=125, seconds=120)
    assert len({report["pid"] for report in reports}) == 4
    for report in reports:
        assert (report["received"], report["wrong"], report["missed"]) == (2000, 0, 0)
    assert len({report["order"] for report in reports}) == 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=operations)
def test_delivery(server: RedisServer, operations: list[tuple[str, int]]) -> None:
    """As without Redis, in any order of attach, detach, send, subscribe and close."""
    deliver(Exchange(new_name(), server.url), operations, detached_get_all=False)


def test_who_comes_later_gets_nothing_from_before(server: RedisServer) -> None:
    """Though what was sent before may not have reached this process by then."""
    exchange, first = Exchange[int](new_name(), server.url), Keep()
    with exchange.subscribe(first), exchange.subscribe() as subscription:
        for number in range(0, 60, 2):
            exchange.send(number)
            task = Keep()
            with exchange.subscribe() as later, exchange.subscribe(task):
                exchange.send(number + 1)
                assert (later.get(PATIENCE), task.get()) == (number + 1, number + 1)
        assert [subscription.get(PATIENCE) for _ in range(60)] == list(range(60))
        assert [first.get() for _ in range(60)] == list(range(60))


@pytest.mark.parametrize("keeps_data", [True, False])
def test_the_server_is_stopped_and_started(start: Callable[[bool], RedisServer], keeps_data: bool) -> None:
    """Who sends meanwhile is told at once; who is subscribed, that it was so, and gets what comes then."""
    server = start(keeps_data)
    exchange = Exchange[int](new_name(), server.url)
    with exchange.subscribe() as subscription:
        for turn in range(3):
            for number in range(50):
                exchange.send(number)
            assert [subscription.get(PATIENCE) for _ in range(50)] == list(range(50))
            server.stop()
            with pytest.raises(ConnectionError, match="unix://"):
                exchange.send(-1)
            server.start()
            exchange.send(-2)
            missed = subscription.get(PATIENCE)
            assert missed == Missed(1, exact=False), turn
            assert subscription.get(PATIENCE) == -2
        assert subscription.missed == 3


@pytest.mark.parametrize("keeps_data", [True, False])
def test_a_subscriber_that_was_cut_off(start: Callable[[bool], RedisServer], keeps_data: bool) -> None:
    """What the server has still, it gets; else it is told that something is missing."""
    server = start(keeps_data)
    name = new_name()
    program = [sys.executable, str(PROGRAM), "echo", name, server.url]
    exchange = Exchange[int](name, server.url)
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        told = process.stdout
        assert told is not None
        try:
            assert told.readline() == "ready\n"
            exchange.send(1)
            assert told.readline() == "1\n"
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            for number in (2, 3, 4):
                exchange.send(number)
            server.stop()
            server.start()
            exchange.send(5)
            process.send_signal(signal.SIGCONT)
            between = list(itertools.takewhile(lambda line: line != "5\n", told))
            inexact = f"{Missed(1, exact=False)}\n"
            if keeps_data:
                assert between == ["2\n", "3\n", "4\n", inexact]
            else:  # the 2 was on its way if it was waited for just then
                assert between in ([inexact], ["2\n", inexact])
        finally:
            process.kill()


def test_a_cut_connection_loses_nothing(server: RedisServer) -> None:
    """The reader's, in the middle of messages, again and again."""
    exchange = Exchange[int](new_name(), server.url)
    with server.client() as client, exchange.subscribe() as subscription:

        def kill() -> bool:
            reading = [one["id"] for one in client.client_list() if one["cmd"] == "xread"]
            return bool(reading and client.client_kill_filter(_id=reading[0]))

        for number in range(300):
            exchange.send(number)
            if number % 100 == 50:
                until(kill, "a reader to be killed")
        assert [subscription.get(PATIENCE) for _ in range(300)] == list(range(300))
        assert subscription.missed == 0


def sent(server: RedisServer, name: str, *payloads: bytes, kept: int = 10_000) -> None:
    """Sends all of them in one step, and lets the stream keep so many."""
    from stdserve.concurrent._redis import SEND, keys_of

    with server.client() as client, client.pipeline(transaction=True) as step:
        for payload in payloads:
            step.eval(SEND.text, 2, *keys_of(name), payload, 10_000)
        step.xtrim(keys_of(name)[0], maxlen=kept, approximate=False)
        step.execute()


def test_what_the_stream_has_no_more_is_told_exactly(server: RedisServer) -> None:
    """Where entries are gone before they could be read; also those that stood before the first."""
    exchange = Exchange[str](name := new_name(), server.url)
    with exchange.subscribe() as subscription:
        sent(server, name, b"s1", b"s2", b"s3", kept=1)
        sent(server, name, b"s4", b"s5", b"s6", b"s7", kept=2)
        assert [subscription.get(PATIENCE) for _ in range(2)] == [Missed(2), "3"]
        assert [subscription.get(PATIENCE) for _ in range(3)] == [Missed(2), "6", "7"]
        with server.client() as client:
            client.flushall()
        exchange.send("after all")
        assert [subscription.get(PATIENCE) for _ in range(2)] == [Missed(1, exact=False), "after all"]


def test_the_past_is_what_the_stream_has(server: RedisServer) -> None:
    """To the first who asks; then what was read. A time in which nobody read is told."""
    exchange = Exchange[str](name := new_name(), server.url)
    sent(server, name, b"s1", b"s2", b"s3", kept=2)
    with exchange.subscribe(past=True) as subscription:
        assert [subscription.get_nowait() for _ in range(3)] == [Missed(1), "2", "3"]
        exchange.send("4")
        with exchange.subscribe(past=True) as again:
            assert [again.get_nowait() for _ in range(4)] == [Missed(1), "2", "3", "4"]
    with Exchange[str](new_name(), server.url).subscribe():  # the thread sees that nobody reads the first one
        exchange.send("5")
        with exchange.subscribe() as late, exchange.subscribe(past=True) as whole:
            exchange.send("6")
            assert late.get(PATIENCE) == "6"
            assert [whole.get(PATIENCE) for _ in range(6)] == [Missed(1), "2", "3", "4", Missed(1), "6"]


def test_what_others_put_there_harms_nobody(server: RedisServer) -> None:
    """Entries of another form are passed over, and what cannot be read is said to who gets it."""
    from stdserve.concurrent._redis import keys_of

    exchange = Exchange[Any](name := new_name(), server.url)
    with server.client() as client, exchange.subscribe() as subscription:
        for fields in (
            {"x": "y"},
            {"epoch": "e", "number": "many", "message": "s"},
            {"epoch": "e", "number": -1, "message": "s"},
            {"epoch": "e", "number": 1 << 70, "message": "s"},
            {"epoch": b"\xff", "number": "1"},
        ):
            client.xadd(keys_of(name)[0], fields)
        exchange.send("ours")
        assert subscription.get(PATIENCE) == "ours"
        sent(server, name, b"\x80\x04K\x01.", b"j{", b"", b"s" + bytes(2 << 20), b"sgood")
        for _ in range(3):
            with pytest.raises(ValueError, match=r"no exchange|Expecting"):
                subscription.get(PATIENCE)
        assert [subscription.get(PATIENCE) for _ in range(2)] == [Missed(1), "good"]


REFUSALS = {
    "another type": (("SET", "stdserve:{bad}:messages", "x"), ("DEL", "stdserve:{bad}:messages")),
    "no permission": (
        ("ACL", "SETUSER", "default", "resetkeys", "~*good*"),
        ("ACL", "SETUSER", "default", "allkeys"),
    ),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_a_stream_that_the_server_refuses_holds_up_no_other(
    server: RedisServer, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    """It is said once whose fault it is; who is subscribed to that one gets afterwards what is sent then."""
    spoil, mend = REFUSALS[why]
    good, bad = Exchange[int]("good", server.url), Exchange[str]("bad", server.url)

    def told(level: str) -> list[str]:
        of_bad = [record for record in caplog.records if "'bad'" in record.getMessage()]
        return [record.getMessage() for record in of_bad if record.levelname == level]

    caplog.set_level("INFO", "stdserve.concurrent")
    with server.client() as client, bad.subscribe() as left_out, good.subscribe() as served:

        def cut() -> bool:
            reading = [one["id"] for one in client.client_list() if one["cmd"] == "xread"]
            return bool(reading and client.client_kill_filter(_id=reading[0]))

        bad.send("1")
        assert left_out.get(PATIENCE) == "1"
        client.execute_command(*spoil)
        for number in range(100):
            good.send(number)
            assert served.get(PATIENCE) == number
            if number == 20:
                until(lambda: bool(told("WARNING")), "the refusal to be told")
            if number == 50:  # a new connection begins with both
                until(cut, "the reader to be cut off")
        with pytest.raises(redis.exceptions.ResponseError):
            bad.send("refused")
        client.execute_command(*mend)
        bad.send("2")
        assert left_out.get(PATIENCE) == "2"
        assert (left_out.missed, served.missed) == (0, 0)
        until(lambda: bool(told("INFO")), "the end of the refusal to be told")
        assert (len(told("WARNING")), len(told("INFO"))) == (1, 1)


def test_who_subscribes_when_a_refused_stream_is_mended_waits_for_no_pause(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do those who have been there; also where nothing else is read."""
    from stdserve.concurrent import _redis

    monkeypatch.setattr(_redis, "_pause", lambda _: 3600.0)
    exchange = Exchange[str]("bad", server.url)
    spoil, mend = REFUSALS["another type"]
    with server.client() as client, exchange.subscribe() as early:
        client.execute_command(*spoil)
        with pytest.raises(redis.exceptions.ResponseError):
            exchange.subscribe()
        until(lambda: early._reader._stream.is_doubtful, "the refusal")  # type: ignore[attr-defined]
        client.execute_command(*mend)
        exchange.send("1")
        with exchange.subscribe() as late:
            exchange.send("2")
            assert late.get(PATIENCE) == "2"
        assert [early.get(PATIENCE), early.get(PATIENCE)] == ["1", "2"]


@pytest.mark.parametrize("number", ["many", str(1 << 60), "-5", ""])
def test_a_count_that_others_have_spoilt_keeps_nobody_from_reading(server: RedisServer, number: str) -> None:
    """Also who has read before, and is to be told what was missed; without the key a new count begins."""
    from stdserve.concurrent._redis import keys_of

    exchange = Exchange[str](name := new_name(), server.url)
    exchange.send("1")
    with exchange.subscribe():
        pass
    with (
        Exchange[str](new_name(), server.url).subscribe(),
        server.client() as client,
    ):  # nobody reads the first now
        client.hset(keys_of(name)[1], "number", number)
        with exchange.subscribe() as subscription:
            client.delete(keys_of(name)[1])
            exchange.send("2")
            assert [subscription.get(PATIENCE) for _ in range(2)] == [Missed(1, exact=False), "2"]


def test_a_server_that_is_not_there() -> None:
    """Is said at once, by all that need it, and without the password."""
    exchange = Exchange[int]("x", "redis://user:secret@127.0.0.1:1/0")
    for what in (lambda: exchange.send(1), exchange.subscribe, lambda: exchange.attach(Keep())):
        with pytest.raises(ConnectionError, match=r"redis://127\.0\.0\.1:1/0: ") as raised:
            what()
        assert "secret" not in str(raised.value)
        assert raised.value.__suppress_context__, "two tracebacks of redis-py say nothing more"
    with pytest.raises(ValueError, match="scheme"):
        Exchange("x", "http://localhost")


@pytest.mark.parametrize("options", ["protocol=3", "decode_responses=True", "db=3&socket_timeout=3"])
def test_options_of_the_client(server: RedisServer, options: str) -> None:
    """They stand in the URL."""
    exchange = Exchange[bytes](new_name(), f"{server.url}?{options}")
    with exchange.subscribe() as subscription:
        exchange.send(b"\xff")
        assert subscription.get(PATIENCE) == b"\xff"


def test_too_long(server: RedisServer) -> None:
    """What a subscriber has no room for is not sent."""
    with pytest.raises(ValueError, match="can be sent"):
        Exchange("long", server.url).send(bytes(2 << 20))


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("a{}%"), min_size=1))
def test_the_keys_of_a_name_are_in_one_slot(name: str) -> None:
    """Of a cluster; and no two names have the same keys."""
    from stdserve.concurrent._redis import keys_of

    first, second = keys_of(name)
    assert key_slot(first) == key_slot(second) == key_slot(first.split(b"{")[1].split(b"}")[0])
    assert name.encode() in first.replace(b"%7B", b"{").replace(b"%7D", b"}").replace(b"%25", b"%")


def test_without_the_client() -> None:
    """It is said how it is had."""
    program = """import sys; sys.modules["redis"] = None
from stdserve.concurrent import Exchange
Exchange("x", "redis://localhost")"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stderr.endswith("an exchange with a URL needs redis-py: pip install 'stdserve[redis]'\n")


@pytest.mark.parametrize(("what", "says"), [("fork", "child: 0"), ("exits 10", "10 {0}")])
def test_programs_that_fork_or_end(server: RedisServer, what: str, says: str) -> None:
    """As without Redis."""
    program = [sys.executable, "-Wignore::DeprecationWarning", str(PROGRAM), *what.split(), server.url]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr, done.returncode) == (f"{says}\n", "", 0)
