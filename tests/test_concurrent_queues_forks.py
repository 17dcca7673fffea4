"""`stdserve.concurrent.PollableQueue` in programs of their own: forks, and where no descriptors are left."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from support.serving import clean_environment


def run(program: str) -> list[str]:
    """What a program of its own prints."""
    text = (
        "import os, select, signal, sys, threading, time\nfrom stdserve.concurrent import *\n"
        + "def ready(fd):\n    return bool(select.select([fd], [], [], 0)[0])\n"
        + textwrap.dedent(program)
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-X", "faulthandler", "-c", text],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_without_descriptors_fileno_says_so_and_the_queue_works() -> None:
    done = run(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        pollable = PollableQueue()
        try:
            pollable.fileno()
        except OSError as error:
            print(error.errno)
        pollable.put(1)
        print(pollable.get())
        """
    )
    assert done == ["24", "1"]


def test_a_forked_child_has_items_and_a_descriptor_of_its_own() -> None:
    done = run(
        """
        pollable = PollableQueue()
        number = pollable.fileno()
        pollable.put(1)
        if os.fork() == 0:
            assert (pollable.fileno(), ready(number), pollable.get()) == (number, True, 1)
            assert not ready(number) and not os.get_inheritable(number)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
        assert ready(number)
        assert pollable.get() == 1
        if os.fork() == 0:
            assert not ready(number)
            pollable.put(2)
            assert ready(number)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
        assert not ready(number)
        print("well")
        """
    )
    assert done == ["well"]


def test_a_child_without_descriptors_does_not_touch_the_parents() -> None:
    done = run(
        """
        import resource
        pollable = PollableQueue()
        number = pollable.fileno()
        pollable.put(1)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        kept = []
        try:
            while True:
                kept.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        if os.fork() == 0:
            assert pollable.get() == 1
            assert pollable.fileno() == number  # the one that was let go of
            assert not ready(number)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
        assert ready(number)
        print("well")
        """
    )
    assert done == ["well"]


def test_waiters_of_the_parent_take_nothing_in_a_forked_child() -> None:
    done = run(
        """
        pollable, full = PollableQueue(), PollableQueue(1)
        full.put(0)
        calls = [pollable.get, pollable.get, lambda: full.put(1), full.join]
        threads = [threading.Thread(target=call, daemon=True) for call in calls]
        for thread in threads:
            thread.start()
        def waits(thread):
            return sys._current_frames()[thread.ident].f_code.co_name == "_patiently"
        while not all(map(waits, threads)):
            pass
        if os.fork() == 0:
            got = []
            getter = threading.Thread(target=lambda: got.append(pollable.get()))
            putter = threading.Thread(target=lambda: full.put(2))
            getter.start()
            putter.start()
            pollable.put(1)
            assert full.get() == 0
            getter.join()
            putter.join()
            assert (got, full.get()) == ([1], 2)
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
        """
    )
    assert done == ["7"]


def test_a_wait_whose_signal_handler_forks_goes_on_in_the_child() -> None:
    done = run(
        """
        pollable = PollableQueue()
        pid = None
        def fork(*_):
            global pid
            if pid is None:
                pid = os.fork()
                threading.Thread(target=pollable.put, args=(os.getpid(),)).start()
        signal.signal(signal.SIGUSR1, fork)
        main = threading.main_thread()
        def send():
            while sys._current_frames()[main.ident].f_code.co_name != "_patiently":
                pass
            # One that comes just before the wait does not end it.
            while pid is None:
                signal.pthread_kill(main.ident, signal.SIGUSR1)
                time.sleep(0.05)
        threading.Thread(target=send).start()
        assert pollable.get() == os.getpid()
        if pid == 0:
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )
    assert done == ["7"]
