"""CPython's own tests of `queue.Queue` and `queue.SimpleQueue`, with `PollableQueue` in their place.

Only what overrides the private `_put()` and `_get()` is left out.
"""

from __future__ import annotations

import unittest
from types import SimpleNamespace
from typing import Any

import pytest
from stdserve.concurrent import Empty, Full, PollableQueue, ShutDown

# Debian has the package, but most of what is in it apart.
pytest.importorskip("test.support.threading_helper", reason="this Python is installed without its tests")
suite: Any = pytest.importorskip("test.test_queue", reason="this Python is installed without its tests")


class Queue(PollableQueue[Any]):
    """Under the name by which the tests know what order to expect."""


queue = SimpleNamespace(Queue=Queue, Empty=Empty, Full=Full, ShutDown=ShutDown)


class TestQueue(suite.BaseQueueTestMixin, unittest.TestCase):  # type: ignore[misc]
    queue = queue

    def setUp(self) -> None:
        self.type2test = Queue
        super().setUp()


class TestQueueWithItsDescriptorInUse(TestQueue):
    def setUp(self) -> None:
        super().setUp()

        class Pollable(Queue):
            def __init__(self, maxsize: int = 0) -> None:
                super().__init__(maxsize)
                self.fileno()

        Pollable.__name__ = Queue.__name__
        self.type2test = Pollable


class TestSimpleQueue(suite.BaseSimpleQueueTest, unittest.TestCase):  # type: ignore[misc]
    queue = queue

    def setUp(self) -> None:
        self.type2test = Queue
        super().setUp()

    # It collects all garbage of this process twenty times; test_concurrent_queues.py has one of its own.
    test_references = None
