"""Carries the messages of exchanges through Redis Streams, to every process that knows the server.

A message is an entry of a stream, with a number that its sender's script counts up beside the stream. The
numbers belong to an epoch, which ends with the server's process or the loss of its data: within an epoch what
is missing is known to the number, across two of them only that something may be.

One thread a process and server reads the streams of all exchanges that are subscribed to, and hands the
messages to the subscribers of this process through memory of its own. After a cut it goes on behind the last
entry that it read. A stream that the server refuses is left out, and tried again by itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import random
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from .._stdserve import Channel
from . import _forks
from ._reporting import report

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise ImportError(
        "an exchange with a URL needs redis-py: pip install 'stdserve[redis]'", name="redis"
    ) from error

#: So many messages at least are kept in the stream, for those that were cut off.
KEPT: Final = 10_000
#: Seconds that a connection, and an answer, may take; a URL may say otherwise.
TIMEOUT: Final = 5.0
#: How long the thread lets the server wait for messages, in seconds: shorter than its patience with an
#: answer.
BLOCK: Final = 2.0
#: How many entries of a stream are read at a time.
COUNT: Final = 100
#: No message has so high a number.
HIGHEST: Final = 1 << 48
#: The first and the longest pause before the server is asked again, in seconds; each is up to a half shorter.
PAUSES: Final = (0.05, 5.0)


class _Script:
    """What Redis runs as one step."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


# KEYS: the stream, the count. ARGV: the message, how many are kept. The run id changes with the server's
# process. Where INFO is not allowed, only the loss of the data ends an epoch. A message that is refused is
# not counted.
SEND: Final = _Script("""
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or 'unknown'
local known = redis.call('HMGET', KEYS[2], 'run', 'epoch')
local epoch = known[2]
if known[1] ~= run or not epoch then
    local now = redis.call('TIME')
    epoch = run .. '-' .. now[1] .. '-' .. now[2]
    redis.call('HSET', KEYS[2], 'run', run, 'epoch', epoch, 'number', 0)
end
local number = redis.call('HINCRBY', KEYS[2], 'number', 1)
local added = redis.pcall(
    'XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'epoch', epoch, 'number', number, 'message', ARGV[1])
if type(added) == 'table' and added.err then
    redis.call('HINCRBY', KEYS[2], 'number', -1)
    return added
end
return number
""")

# KEYS: the same. The last entry's id, and epoch and number of the last message.
LOOK: Final = _Script("""
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local known = redis.call('HMGET', KEYS[2], 'epoch', 'number')
return {last and last[1] or '0-0', known[1], known[2]}
""")

_log = logging.getLogger("stdserve.concurrent")

Id = tuple[int, int]


def _id(text: bytes) -> Id:
    milliseconds, _, number = text.partition(b"-")
    return int(milliseconds), int(number)


def _count(text: bytes | None) -> int:
    """The number of the last message; 0 where there is none, or something that is no message's number."""
    try:
        number = int(text or 0)
    except ValueError:
        return 0
    return number if 0 < number < HIGHEST else 0


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _pause(failures: int) -> float:
    """How long to wait after so many failures and one more, in seconds."""
    return float(min(PAUSES[0] * 2.0 ** min(failures, 16), PAUSES[1]) * random.uniform(0.5, 1))


def _is_for_all(error: redis.exceptions.ResponseError) -> bool:
    """Whether the server would say so of any stream: it is busy with a script, or misses a part of itself."""
    return isinstance(error, redis.exceptions.ClusterDownError) or str(error).startswith("BUSY ")


def keys_of(name: str) -> tuple[bytes, bytes]:
    """The keys of the stream and of the count: in one slot of a cluster, whatever the name is."""
    tag = name.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
    return f"stdserve:{{{tag}}}:messages".encode(), f"stdserve:{{{tag}}}:count".encode()


class _Stream:
    """An exchange on a server: its keys, how far it has been read here, and who reads it."""

    def __init__(self, server: _Server, name: str) -> None:
        self._server = server
        self._name = name
        self.keys = keys_of(name)
        self.at: Id = (0, 0)
        self._epoch: bytes | None = None
        self._number = 0
        self.begin()

    def begin(self) -> None:
        """Nobody in this process reads yet."""
        self.channel = Channel(f"{self._server.url} {self._name}", private=True)
        self._readers: weakref.WeakSet[_Reader] = weakref.WeakSet()
        #: Whether it is to be read apart from the others: for the first time on a connection, or after a
        #: refusal.
        self.is_doubtful = False
        #: When it is tried again that was refused, by the monotonic clock.
        self.again = 0.0
        self._refusals = 0

    # what an exchange asks of it

    def send(self, payload: bytes, /) -> None:
        """Sends a message."""
        if len(payload) > self.channel.max_message:
            raise ValueError(f"a message of {len(payload)} bytes: {self.channel.max_message} can be sent")
        self._server.call(SEND, self.keys, payload, KEPT)

    def reader(self, past: bool = False, /) -> _Reader:
        """A reader of what is sent from now on. With `past` also of what the stream has; where it is read
        in this process already, of what has been read and is there still.
        """
        return self._server.subscribe(self, past)

    def spare(self) -> None:
        """None: readers of a child are made in the child."""

    def in_child(self) -> _Reader:
        """One that goes on where the parent's thread stood."""
        return self.new_reader()

    # what the server's thread does with it

    def is_read(self) -> bool:
        """Whether somebody in this process does."""
        return any(not reader.closed for reader in list(self._readers))

    def new_reader(self, past: bool = False) -> _Reader:
        reader = _Reader(self._server, self, past)
        self._readers.add(reader)
        return reader

    def begin_at(self, last: Id, epoch: bytes | None, number: bytes | None) -> None:
        """Begins behind what is there. What nobody here has read since the last time is noted, for those who
        ask for the past.
        """
        count = _count(number)
        if self._epoch is not None and (epoch != self._epoch or count != self._number):
            same = epoch == self._epoch
            self.channel.note_missed(max(count - self._number if same else count, 1), same)
        self.at, self._epoch, self._number = last, epoch, count

    def at_text(self) -> str:
        """The last entry that was read, as Redis writes it."""
        return f"{self.at[0]}-{self.at[1]}"

    def look_back(self, last: Id) -> None:
        """After a cut: a stream that ends before what was read last is not the same any more."""
        if last < self.at:
            self.at = (0, 0)

    def refused(self, error: Exception) -> None:
        """The server does not let it be read, which is no fault of the others: it is left out for a while."""
        if not self._refusals:
            server = _without_secrets(self._server.url)
            _log.warning("%s: the exchange %r cannot be read: %s", server, self._name, error)
        self.is_doubtful = True
        self.again = time.monotonic() + _pause(self._refusals)
        self._refusals += 1

    def accepted(self) -> None:
        """The server has let it be read."""
        if self._refusals:
            _log.info("%s: the exchange %r is read again", _without_secrets(self._server.url), self._name)
        self.is_doubtful = False
        self._refusals = 0

    def take(self, entries: Any) -> None:
        """Hands entries on, and says what is missing among them."""
        for key, fields in entries:
            try:
                epoch, number, message = fields[b"epoch"], int(fields[b"number"]), fields[b"message"]
            except (KeyError, TypeError, ValueError):
                number = 0
            if 0 < number < HIGHEST:  # else it is somebody else's
                self._hand_on(epoch, number, message)
            # Now that who subscribes behind it cannot get it any more.
            self.at = _id(key)

    def _hand_on(self, epoch: bytes, number: int, message: bytes) -> None:
        if epoch == self._epoch or self._epoch is None:
            missing = number - 1 - self._number
            if missing < 0:
                return  # read before
            if missing:
                self.channel.note_missed(missing, True)
        else:
            # How many of the old epoch nobody knows: perhaps none.
            self.channel.note_missed(max(number - 1, 1), False)
        self._epoch, self._number = epoch, number
        try:
            self.channel.send(message)
        except ValueError:  # longer than our senders send
            self.channel.note_missed(1, True)


class _Reader:
    """A native reader of what the thread has brought, which sees to it that there is a thread."""

    def __init__(self, server: _Server, stream: _Stream, past: bool) -> None:
        self._server = server
        self._stream = stream  # which is read as long as there is a reader
        self._reader = stream.channel.reader(past)

    @property
    def closed(self) -> bool:
        return bool(self._reader.closed)

    def take(self, most: int = 64, /) -> list[Any]:
        self._server.see_to_thread()
        return self._reader.take(most)

    def fileno(self) -> int:
        self._server.see_to_thread()
        return self._reader.fileno()

    def close(self) -> None:
        self._reader.close()


class _Server:
    """A Redis server as this process sees it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._known: weakref.WeakValueDictionary[str, _Stream] = weakref.WeakValueDictionary()
        # What the thread reads, by the key of the stream.
        self._read: dict[bytes, _Stream] = {}
        self._begin()
        _forks.tell(self)

    def _begin(self) -> None:
        self._client = self._new_client(TIMEOUT)
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        # The thread's connection, by the server's count; None while there is none.
        self._connection: int | None = None
        # Counted up when the thread is to read something more, and by the thread when it does.
        self._wanted = 0
        self._seen = 0

    def _new_client(self, patience: float) -> Any:
        # An answer that got lost is no reason to send again: the message may have been taken.
        client: Any = redis.Redis.from_url(
            self.url,
            protocol=2,
            socket_timeout=patience,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
        client.connection_pool.connection_kwargs["decode_responses"] = False
        return client

    def stream(self, name: str) -> _Stream:
        """The stream of that name: one a process."""
        with self._changed:
            return self._known.get(name) or self._known.setdefault(name, _Stream(self, name))

    def call(self, script: _Script, keys: tuple[bytes, bytes], *arguments: object) -> Any:
        """Runs a script. ConnectionError: the server is not there, or did not answer."""
        try:
            try:
                return self._client.evalsha(script.digest, 2, *keys, *arguments)
            except redis.exceptions.NoScriptError:
                return self._client.eval(script.text, 2, *keys, *arguments)
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
            # redis-py's two tracebacks would say nothing more.
            raise ConnectionError(f"{_without_secrets(self.url)}: {error}") from None
        finally:
            if _forks.is_to_be_forked():
                self._client.connection_pool.disconnect()

    # subscribers

    def subscribe(self, stream: _Stream, past: bool) -> _Reader:
        """A reader: see `_Stream.reader`. ConnectionError: the server is not there."""
        key = stream.keys[0]
        last, epoch, number = self.call(LOOK, stream.keys)
        now = _id(last)
        with self._changed:
            self._wanted += 1
            stream.again = 0.0  # as the server has not refused it now
            if key in self._read:
                # What was sent before now is not for this one, though it may not have been read by now.
                self.see_to_thread()
                if not self._reaches(lambda: key not in self._read or stream.at >= now):
                    raise ConnectionError(f"{_without_secrets(self.url)}: cannot be read from")
            if key in self._read:
                return stream.new_reader(past)
            if not past:
                stream.begin_at(now, epoch, number)
            reader = stream.new_reader(past)
            self._read[key] = stream
            self._wanted += 1
            wanted = self._wanted
            self.see_to_thread()
            # Not for what it gets, but that it gets it at once.
            self._reaches(lambda: self._seen >= wanted and (not past or stream.at >= now))
            return reader

    def _reaches(self, reached: Callable[[], bool]) -> bool:
        """Whether the thread comes so far in time. Called, and left, with the lock held once."""
        end = time.monotonic() + TIMEOUT
        self._changed.notify_all()
        while self._thread is not None and not reached():
            if time.monotonic() > end:
                return False
            connection = self._connection
            self._changed.release()
            try:
                # It may wait at the server for messages of others.
                if connection is not None:
                    with contextlib.suppress(redis.exceptions.RedisError):
                        self._client.client_unblock(connection)
            finally:
                self._changed.acquire()
            if not reached():
                self._changed.wait(0.01)
        return True

    # the thread

    def see_to_thread(self) -> None:
        """Begins the thread where there is none and something is to be read."""
        if self._thread is not None:
            return
        with self._changed:
            if self._thread is not None or not self._read or _forks.is_to_be_forked():
                return
            thread = threading.Thread(target=self._run, name="stdserve-redis", daemon=True)
            self._thread = thread
            try:
                thread.start()
            except BaseException:
                self._thread = None
                raise

    def _run(self) -> None:
        failures = 0

        def succeeded() -> None:
            nonlocal failures
            if failures:
                _log.info("%s is there again", _without_secrets(self.url))
            failures = 0

        while True:
            try:
                if not self._read_on(succeeded):
                    return
            except (redis.exceptions.RedisError, OSError) as error:
                if not failures:
                    _log.warning("%s cannot be read from: %s", _without_secrets(self.url), error)
            except Exception as error:
                report(error)
            finally:
                with self._changed:
                    self._connection = None
            pause = _pause(failures)
            failures += 1
            self._rest(pause)

    def _rest(self, pause: float) -> None:
        """Waits so many seconds, or until somebody subscribes: he has had an answer of the server."""
        with self._changed:
            wanted = self._wanted
            self._changed.wait_for(lambda: self._wanted != wanted, pause)

    def _read_on(self, succeeded: Callable[[], None]) -> bool:
        """Reads until the connection is cut, which raises, or until nobody here wants anything: False."""
        with self._changed:
            if not self._choose():
                return False
            for stream in self._read.values():
                stream.is_doubtful = True
        client = self._new_client(BLOCK + TIMEOUT)
        patience = client.connection_pool.connection_kwargs["socket_timeout"]
        block = BLOCK if patience is None else min(BLOCK, patience / 2)
        with contextlib.closing(client), contextlib.closing(client.client()) as connection:
            number = connection.client_id()
            while True:
                with self._changed:
                    self._connection = number
                    if not self._choose():
                        return False
                    streams = list(self._read.values())
                for stream in streams:
                    if stream.is_doubtful and stream.again <= time.monotonic():
                        self._read_apart(connection, stream)
                good = [stream for stream in streams if not stream.is_doubtful]
                soonest = min((stream.again for stream in streams if stream.is_doubtful), default=math.inf)
                left = max(soonest - time.monotonic(), 0.001)
                if good:
                    self._read_all(connection, good, min(block, left))
                    succeeded()
                else:
                    succeeded()
                    with self._changed:
                        self._changed.wait_for(lambda: self._wanted != self._seen, left)

    def _read_all(self, connection: Any, streams: list[_Stream], block: float) -> None:
        """Reads from all at once. Where that is refused it is found out whose fault it is."""
        places = {stream.keys[0]: stream.at_text() for stream in streams}
        try:
            answer = connection.xread(places, count=COUNT, block=max(int(block * 1000), 1))
        except redis.exceptions.ResponseError as error:
            if _is_for_all(error):
                raise
            refused = [stream for stream in streams if not self._read_apart(connection, stream)]
            if not refused:  # but all of them together
                raise
        else:
            self._hand_on(answer)

    def _read_apart(self, connection: Any, stream: _Stream) -> bool:
        """Reads from one, without waiting. Whether the server has let it be read."""
        try:
            last, _, _ = connection.eval(LOOK.text, 2, *stream.keys)
            stream.look_back(_id(last))
            answer = connection.xread({stream.keys[0]: stream.at_text()}, count=COUNT)
        except redis.exceptions.ResponseError as error:
            if _is_for_all(error):
                raise
            stream.refused(error)
            return False
        self._hand_on(answer)
        stream.accepted()
        return True

    def _hand_on(self, answer: Any) -> None:
        for key, entries in _streams(answer):
            if (found := self._read.get(key)) is not None:
                found.take(entries)

    def _choose(self) -> bool:
        """Drops the streams that nobody reads any more. Whether there are others; else the thread ends."""
        self._read = {key: stream for key, stream in self._read.items() if stream.is_read()}
        self._seen = self._wanted
        self._changed.notify_all()
        if not self._read:
            self._thread = None
        return self._thread is not None

    # forks

    def before_fork(self) -> None:
        """Nothing: what a child needs is made in the child."""

    def after_fork_in_parent(self) -> None:
        """Nothing."""

    def after_fork_in_child(self) -> None:
        self._begin()
        for stream in self._read.values():
            stream.begin()


def _streams(answer: Any) -> Any:
    """Key and entries of each stream that has something new, in whatever shape the protocol brings it."""
    if isinstance(answer, dict):
        return [
            (key, entries[0] if isinstance(entries[0], list) else entries) for key, entries in answer.items()
        ]
    return answer or []


_servers: dict[str, _Server] = {}


def carrier_of(name: str, url: str) -> _Stream:
    """What carries the messages of that name through that server."""
    # Without a lock, which a fork could find taken: of two that are made at once, one is kept.
    server = _servers.get(url) or _servers.setdefault(url, _Server(url))
    return server.stream(name)
