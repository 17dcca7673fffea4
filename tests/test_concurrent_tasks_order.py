"""stdserve.concurrent.TaskScheduler: the order in which tasks run, held against a simple model of it.

The model does with lists what docs/concurrent.md says of a turn. Both run the same programs, the scheduler
with a clock that stands still while anybody can run.
"""

from __future__ import annotations

import concurrent.futures
import select
from collections.abc import Callable, Generator
from itertools import count
from typing import Any, Protocol

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stdserve.concurrent import PollableQueue, Task, TaskCancelled, TaskScheduler, sleep

Steps = Generator[Any, Any, Any]
Program = list[Any]
Name = tuple[int, ...]


class Kit(Protocol):
    """What programs are made of, on either side."""

    log: list[tuple[Any, ...]]
    queue: Any

    def time(self) -> float: ...
    def sleep(self, seconds: float) -> Any: ...
    def spawn(self, steps: Steps) -> Any: ...
    def put(self) -> None: ...


def perform(program: Program, kit: Kit, name: Name = ()) -> Steps:
    """Does what a program says and writes down when."""
    children: list[Any] = []
    try:
        for step in program:
            kit.log.append((kit.time(), name, step))
            match step:
                case "pass":
                    yield
                case "put":
                    kit.put()
                case "get":
                    kit.log.append((name, "got", (yield kit.queue)))
                case "fail":
                    raise KeyError(name)
                case ("sleep", seconds):
                    yield kit.sleep(seconds)
                case ("spawn", inner):
                    children.append(kit.spawn(perform(inner, kit, (*name, len(children)))))
                case ("join", number) if children:
                    try:
                        kit.log.append((name, "joined", (yield children[number % len(children)])))
                    except (KeyError, concurrent.futures.CancelledError) as error:
                        kit.log.append((name, "joined", type(error).__name__))
                case ("cancel", number) if children:
                    children[number % len(children)].cancel()
        kit.log.append((kit.time(), name, "end"))
        return name
    except TaskCancelled:
        kit.log.append((kit.time(), name, "cancelled"))
        raise


class Real(TaskScheduler):
    """The scheduler, on a clock that goes on only when nothing can be done."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[Any, ...]] = []
        self.queue: PollableQueue[int] = PollableQueue()
        self.numbers = count()
        self.now = 0.0
        self.made: list[Task[Any]] = []
        self._clock = self.time

    def time(self) -> float:
        return self.now

    sleep = staticmethod(sleep)

    def spawn(self, steps: Steps) -> Task[Any]:
        self.made.append(self.new_task(steps))
        return self.made[-1]

    def put(self) -> None:
        self.queue.put(next(self.numbers))

    def _patience(self, timeout: float | None) -> float:
        waits = super()._patience(timeout) > 0
        if waits and not select.select([self._opened()], [], [], 0)[0]:
            if not self._alarms:
                # All of them wait for ever.
                self.stop()
            else:
                self.now = self._alarms[0][0]
        return 0


class Modelled:
    """A task of the model."""

    def __init__(self, model: Model, steps: Steps) -> None:
        self.model = model
        self.steps = steps
        self.waiters: list[Modelled] = []
        self.waits: Any = None
        self.error: BaseException | None = None
        self.outcome: Callable[[], Any] | None = None
        self.cancelling = False

    def cancel(self) -> None:
        if self.outcome is None and not self.cancelling:
            self.cancelling = True
            self.model.orders.append(("cancel", self, None))


def _raise(error: BaseException) -> Any:
    raise error


class Model:
    """What the scheduler does, as it is documented."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.queue = "queue"
        self.numbers = count()
        self.now = 0.0
        self.items: list[int] = []
        self.line: list[Modelled] = []
        self.armed = False
        self.orders: list[tuple[str, Modelled, Any]] = []
        self.ready: list[Modelled] = []
        self.naps: list[tuple[float, int, Modelled]] = []
        self.order = count()
        self.tasks: list[Modelled] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> Any:
        return ("sleep", seconds)

    def spawn(self, steps: Steps) -> Modelled:
        task = Modelled(self, steps)
        self.tasks.append(task)
        self.orders.append(("start", task, None))
        return task

    def put(self) -> None:
        self.items.append(next(self.numbers))

    def run(self) -> None:
        while self.tasks:
            if not (self.ready or self.orders or (self.armed and self.items)):
                if not self.naps:
                    return
                self.now = min(self.naps)[0]
            if self.armed and self.items:
                self.armed = False
                self.rouse(self.line[0])
            orders, self.orders = self.orders, []
            for kind, task, what in orders:
                if kind == "start" or (kind == "joined" and task.waits is what):
                    self.rouse(task)
                elif kind == "cancel" and task.outcome is None:
                    self.leave(task)
                    task.error = TaskCancelled()
                    self.rouse(task)
            for nap in sorted(self.naps):
                if nap[0] <= self.now:
                    self.naps.remove(nap)
                    self.rouse(nap[2])
            for _ in range(len(self.ready)):
                self.step(self.ready.pop(0))

    def rouse(self, task: Modelled) -> None:
        if task not in self.ready:
            self.ready.append(task)

    def leave(self, task: Modelled) -> None:
        task.cancelling = False
        task.waits = None
        self.naps = [nap for nap in self.naps if nap[2] is not task]
        if task in self.line:
            self.line.remove(task)
            if not self.line:
                self.armed = False
            elif not self.armed:
                self.rouse(self.line[0])

    def step(self, task: Modelled) -> None:
        value, error, task.error = None, task.error, None
        if error is None and task in self.line:
            if not self.items:
                self.armed = True
                return
            value = self.items.pop(0)
            self.line.remove(task)
            if self.line:
                self.rouse(self.line[0])
        elif error is None and isinstance(task.waits, Modelled):
            try:
                assert task.waits.outcome
                value = task.waits.outcome()
            except (KeyError, concurrent.futures.CancelledError) as raised:
                error = raised
        task.waits = None
        try:
            what = task.steps.send(value) if error is None else task.steps.throw(error)
        except StopIteration as stop:
            returned = stop.value
            self.end(task, lambda: returned)
        except TaskCancelled:
            self.end(task, lambda: _raise(concurrent.futures.CancelledError()))
        except KeyError as raised:
            failure = raised
            self.end(task, lambda: _raise(failure))
        else:
            self.wait(task, what)

    def wait(self, task: Modelled, what: Any) -> None:
        if what is None or what == ("sleep", 0):
            self.rouse(task)
        elif what == "queue":
            self.line.append(task)
            if len(self.line) == 1:
                self.rouse(task)
        elif isinstance(what, Modelled):
            task.waits = what
            if what.outcome:
                self.orders.append(("joined", task, what))
            else:
                what.waiters.append(task)
        else:
            self.naps.append((self.now + what[1], next(self.order), task))

    def end(self, task: Modelled, outcome: Callable[[], Any]) -> None:
        task.outcome = outcome
        self.tasks.remove(task)
        for waiter in task.waiters:
            self.orders.append(("joined", waiter, task))


SIMPLE = st.one_of(
    st.sampled_from(["pass", "put", "get", "fail"]),
    st.tuples(st.just("sleep"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["join", "cancel"]), st.integers(0, 2)),
)
PROGRAMS = st.recursive(
    st.lists(SIMPLE, max_size=6),
    lambda inner: st.lists(st.one_of(SIMPLE, st.tuples(st.just("spawn"), inner)), max_size=8),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PROGRAMS, min_size=1, max_size=4))
def test_tasks_run_in_the_order_of_the_model(programs: list[Program]) -> None:
    model = Model()
    for number, program in enumerate(programs):
        model.spawn(perform(program, model, (number,)))
    model.run()
    expected = list(model.log)
    with Real() as real:
        for number, program in enumerate(programs):
            real.spawn(perform(program, real, (number,)))
        real.run()
        assert real.log == expected
        assert len(real.tasks) == len(model.tasks)
    for task in real.made:
        # Asked for, and so not reported.
        assert task.cancelled() or isinstance(task.exception(), KeyError | None)
