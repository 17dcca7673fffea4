"""A daemon that is started, looked for and stopped by its pid file.

    python examples/daemon.py start     # in this folder: daemon.pid, daemon.log
    python examples/daemon.py status
    python examples/daemon.py stop

`start` returns when the daemon works, or says why it does not. It writes a line to its log every second: look
with `tail -f daemon.log`. This is recipe 12.14 of the Python Cookbook. There, a number that a killed daemon
has left behind keeps the next one from starting, and `stop` sends a signal to whatever process has that
number by then. Here the daemon holds a lock on its pid file, which ends with it.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import time
from pathlib import Path

from stdserve.concurrent import daemon_pid, daemonize

#: Exit codes of an init script (Linux Standard Base).
NOT_RUNNING = 3


def start(pidfile: Path, log: Path) -> None:
    """Only the daemon gets past `daemonize`."""
    try:
        daemonize(pidfile, stdout=log, stderr=log)
    except RuntimeError as error:
        sys.exit(f"not started: {error}")
    print(f"process {os.getpid()} has started")
    try:
        while True:
            print("alive", time.strftime("%H:%M:%S"))
            time.sleep(1)
    finally:
        # SIGTERM is an exception here, so that all is cleaned up.
        print("ended")


def stop(pidfile: Path) -> None:
    """Waits until it has ended."""
    while (pid := daemon_pid(pidfile)) is not None:
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            # It still is the one with the file: so this is that process, and no other will be behind it.
            if daemon_pid(pidfile) == pid:
                signal.pidfd_send_signal(process, signal.SIGTERM)
                select.select([process], [], [])
                print("stopped")
                return
        except ProcessLookupError:
            continue
        finally:
            os.close(process)
    print("nothing runs")


def status(pidfile: Path) -> None:
    pid = daemon_pid(pidfile)
    if pid is None:
        print("nothing runs")
        sys.exit(NOT_RUNNING)
    print(f"runs as process {pid}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Starts a daemon, looks for it, or stops it.")
    parser.add_argument("order", choices=["start", "status", "stop"])
    parser.add_argument("--folder", type=Path, default=Path(), help="where its files are; default: here")
    arguments = parser.parse_args()
    pidfile, log = arguments.folder / "daemon.pid", arguments.folder / "daemon.log"
    try:
        if arguments.order == "start":
            start(pidfile, log)
        elif arguments.order == "stop":
            stop(pidfile)
        else:
            status(pidfile)
    except (OSError, RuntimeError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
