"""The end of the supervisor, seen from its workers."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

from support import proc
from support.gate import Gate
from support.load import clients
from support.serving import Serve
from support.waiting import until
from support.wire import request


def test_a_worker_whose_gil_is_held_lets_go_of_the_address_and_ends(serve: Serve, gate: Gate) -> None:
    """The loop sees the end of the lifeline without the GIL; a timer of the kernel's ends what hangs in C."""
    server = serve(workers=1, graceful_timeout="500ms")
    with server.client() as client:
        client.send(request(target="/hold-gil?name=held&seconds=100"))
        gate.wait("held")
        server.signal(signal.SIGKILL)
        server.wait_exit()
        again = serve(bind=f"127.0.0.1:{server.port}")
        assert again.get("/hello").status == 200
        until(lambda: not server.left_behind(), "the worker has ended")


def test_term_to_a_worker_drains_it_and_it_is_replaced(serve: Serve, gate: Gate) -> None:
    """SIGTERM from somebody else than the supervisor: what runs is finished, and another worker comes."""
    server = serve(workers=1, threads=4)
    (worker,) = server.wait_workers(1)
    with ExitStack() as stack:
        client, kept = clients(stack, server, 2)
        client.send(request(target="/wait?name=running"))
        guest = gate.wait("running")
        assert proc.alive(worker)
        os.kill(worker, signal.SIGTERM)
        until(lambda: kept.ask("/hello").closes, "the worker drains")
        guest.release("done")
        answer = client.read()
        assert (answer.text, answer.closes) == ("done", True)
    until(lambda: server.workers() not in ([worker], []), "the worker is replaced")
    assert server.get("/hello").status == 200


def test_a_template_that_dies_is_replaced(serve: Serve) -> None:
    """The workers do not notice; the next dead worker is replaced by the new template."""
    server = serve(workers=1)
    (worker,) = server.wait_workers(1)

    def template() -> list[int]:
        return [one.pid for one in proc.descendants(server.pid) if one.name == "stdserve:templ"]

    (first,) = template()
    os.kill(first, signal.SIGKILL)
    until(lambda: template() not in ([], [first]), "the template is replaced")
    assert server.workers() == [worker]
    os.kill(worker, signal.SIGKILL)
    until(lambda: server.workers() not in ([worker], []), "the worker is replaced")
    assert server.get("/hello").status == 200
