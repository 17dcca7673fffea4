"""What breaks on the open network and on machines: clients, descriptors, disks. The server goes on."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from support import proc
from support.disks import fill
from support.gate import Gate
from support.load import Steady, clients, send_all
from support.serving import Serve, clean_environment
from support.waiting import until
from support.wire import Client, Closed, request

MIB = 1 << 20
POST = request("POST", "/told?name=ran", body=b"x" * 200)


@pytest.mark.parametrize("ending", ["close", "reset", "half"])
def test_clients_that_disconnect_at_every_stage_of_a_request(serve: Serve, gate: Gate, ending: str) -> None:
    """After each byte of a request: nothing is run that is not complete, nothing is left over."""
    server = serve(threads=2)
    assert server.get("/hello").status == 200
    worker = server.wait_workers(1)[0]
    before = len(proc.descriptors(worker))
    for cut in range(len(POST)):
        client = server.client()
        client.send(POST[:cut])
        leave(client, ending)
    server.turn()
    assert server.get("/hello").status == 200
    assert gate.count("ran") == 0
    until(lambda: len(proc.descriptors(worker)) <= before, "every connection is closed")
    assert server.workers() == [worker]


def leave(client: Client, ending: str) -> None:
    """End the connection in one of the ways that there are."""
    if ending == "reset":
        client.reset()
        return
    if ending == "half":
        client.half_close()
        with suppress(Closed):
            client.rest()
    client.close()


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize(
    "target",
    [
        "/hello",
        "/wait?name=held",
        "/large?size=5000000&name=left",
        "/stream?size=70000&count=100&name=left",
        "/stream?size=10&count=1000&name=left",
        "/slow-close?name=held",
        "/boom",
        "/nowhere",
    ],
)
def test_clients_that_disconnect_while_they_are_answered(
    serve: Serve, gate: Gate, target: str, ending: str
) -> None:
    """Before, in and after the response; close() is called every time, and no thread is lost."""
    server = serve(threads=2, response_buffer="64KiB")
    gate.open("held")
    assert server.get("/hello").status == 200
    worker = server.wait_workers(1)[0]
    before = len(proc.descriptors(worker))
    for read in (0, 1, 20, 200, 3000, 100_000):
        client = server.client(receive_buffer=4096)
        client.send(request(target=target))
        try:
            while len(client.buffer) < read:
                client._more()
                if target in ("/hello", "/boom", "/nowhere") or "name=held" in target:
                    break
        except Closed:
            pass
        leave(client, ending)
        if "name=left" in target:
            if read:
                gate.wait("left")
            else:
                # Gone before it was run, or while it ran: either is right.
                server.turn()
    assert server.get("/hello").status == 200
    until(lambda: len(proc.descriptors(worker)) <= before, "every connection is closed")
    assert server.workers() == [worker]


def test_accepting_resumes_when_descriptors_ran_out(serve: Serve) -> None:
    """RLIMIT_NOFILE: out of descriptors the server stops accepting until some are free, and does not spin."""
    server = serve(limits={resource.RLIMIT_NOFILE: (64, 64)}, keep_alive="600s", header_timeout="600s")
    assert server.get("/hello").status == 200
    worker = server.wait_workers(1)[0]
    with ExitStack() as stack:
        held = clients(stack, server, 100)
        first = held[0]
        assert first.ask("/hello").status == 200
        send_all([(client, "/hello") for client in held[1:]])
        answered = [client for client in held[1:30] if client.read().status == 200]
        assert len(answered) == 29
        used = cpu(worker)
        # A spinning server would burn all of this second; the others are what it would spin on.
        assert not held[-1].readable(1.0)
        assert cpu(worker) - used < 0.5
        server.log.wait("cannot accept")
        assert server.log.text.count("cannot accept") == 1, "it is said once, and not with every attempt"
        assert first.ask("/hello").status == 200, "connections that were accepted go on"
        for client in held[:60]:
            client.close()
        assert [client.read().status for client in held[60:]][-5:] == [200] * 5
    assert server.workers() == [worker]


def cpu(pid: int) -> float:
    """CPU seconds of a process up to now."""
    one = proc.stat(pid)
    assert one is not None
    return one.cpu_seconds


def test_a_full_disk_while_a_body_is_spooled(serve: Serve, gate: Gate, small_disk: Path) -> None:
    """503 or 507 for the upload, and the worker lives; with room again, uploads are served again."""
    server = serve(temp_dir=small_disk, body_buffer="64KiB")
    assert server.get("/hello").status == 200
    worker = server.workers()
    for _ in range(3):
        with server.client() as client:
            try:
                client.send(request("POST", "/told?name=ghost", body=b"x" * (8 * MIB)))
            except OSError as error:
                assert error.errno in (errno.EPIPE, errno.ECONNRESET)  # noqa: PT017
            assert client.read().status in (503, 507)
        assert server.get("/hello").status == 200
        with server.client() as client:
            assert client.ask("/told?name=fits", "POST", body=b"x" * MIB).text == str(MIB)
    assert gate.count("ghost") == 0
    assert server.workers() == worker
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_from_the_start(serve: Serve, small_disk: Path) -> None:
    """Not a byte of room: small bodies need none."""
    fill(small_disk)
    server = serve(temp_dir=small_disk, body_buffer="64KiB", buffer_total="1MiB")
    with server.client() as client:
        assert client.ask("/told?name=a", "POST", body=b"x" * 1000).status in (200, 500)
    with server.client() as client:
        client.send(request("POST", "/hello", body=b"x" * 200_000))
        assert client.read().status in (503, 507)
    assert server.get("/hello").status == 200


def test_a_full_disk_while_a_response_is_kept(serve: Serve, gate: Gate, small_disk: Path) -> None:
    """A response that cannot be spooled waits for its client, or is cut; others go on."""
    server = serve(temp_dir=small_disk, response_buffer="32MiB", buffer_total="1MiB", threads=2)
    assert server.get("/hello").status == 200
    worker = server.workers()
    with server.client(receive_buffer=4096) as slow:
        slow.send(request(target="/stream?size=65536&count=256&name=left"))
        for _ in range(20):
            assert server.get("/hello").status == 200
        with suppress(Closed):
            assert len(slow.read().body) == 256 * 65536
        gate.wait("left")
    assert server.get("/hello").status == 200
    assert server.workers() == worker


def test_200_slow_clients_beside_hello(serve: Serve) -> None:
    """Slow heads, slow bodies, slow readers: no thread is theirs, and hello goes on."""
    server = serve(threads=2, header_timeout="600s", body_rate=0, keep_alive="600s")
    with ExitStack() as stack:
        heads = clients(stack, server, 80)
        bodies = clients(stack, server, 80)
        readers = [stack.enter_context(server.client(receive_buffer=4096)) for _ in range(40)]
        for client in readers:
            client.send(request(target="/large?size=1000000"))
        body = request("POST", "/echo", body=b"x" * 100)
        head = request(target="/hello?n=slow", fields=[("X-Long", "y" * 100)])
        with Steady(server, "/hello", 4) as quick:
            for step in range(0, 90, 10):
                for client in heads:
                    client.send(head[step : step + 10])
                for client in bodies:
                    client.send(body[step : step + 10])
                quick.wait(40)
        assert quick.lost == 0
        assert set(quick.answers) == {200}
        for client in heads:
            client.send(head[90:])
            assert client.read().text == "hello slow"
        for client in bodies:
            client.send(body[90:])
            assert client.read().status == 200
        for client in readers:
            assert len(client.read().body) == 1_000_000


def test_10_000_idle_connections_cost_at_most_2_kib_each(serve: Serve) -> None:
    """Idle connections hold no buffers."""
    count = 10_000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < count + 100:
        pytest.skip(f"needs a hard limit of {count + 100} descriptors, not {hard}")
    server = serve(keep_alive="600s", worker_connections=count + 100)
    worker = server.wait_workers(1)[0]
    host, port = server.address

    def hold(number: int, stack: ExitStack) -> subprocess.Popen[str]:
        program = Path(__file__).parent / "support" / "many.py"
        holder = stack.enter_context(
            subprocess.Popen(
                [sys.executable, str(program), host, str(port), str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=clean_environment(),
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard)),
            )
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        return holder

    with ExitStack() as stack:
        # A first thousand pays for what is there once: tables, pools, the interpreter's own caches.
        hold(1000, stack)
        before = proc.resident(worker)
        holder = hold(count - 1000, stack)
        each = (proc.resident(worker) - before) / (count - 1000)
        assert each <= 2048, f"{each:.0f} bytes for each idle connection"
        assert server.get("/hello").status == 200
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write("again\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == f"{count - 1000}\n"
        each = (proc.resident(worker) - before) / (count - 1000)
        assert each <= 2048, f"{each:.0f} bytes for each idle connection, after all have asked again"
