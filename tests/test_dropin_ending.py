"""Programs that end while threads of their servers are inside of handlers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.waiting import PATIENCE

#: What each kind of server waits in: `wait()`.
KINDS = {
    "stream": """
from stdserve.socketserver import StreamRequestHandler, ThreadingTCPServer
class Handler(StreamRequestHandler):
    def handle(self): wait()
server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
""",
    "http": """
from stdserve.http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self): wait()
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
""",
    "wsgi": """
from stdserve.socketserver import ThreadingMixIn
from stdserve.wsgiref.simple_server import WSGIServer, make_server
class Server(ThreadingMixIn, WSGIServer): pass
server = make_server("127.0.0.1", 0, lambda environ, start_response: wait(), Server)
""",
    "xmlrpc": """
from stdserve.socketserver import ThreadingMixIn
from stdserve.xmlrpc.server import SimpleXMLRPCServer
class Server(ThreadingMixIn, SimpleXMLRPCServer): pass
server = Server(("127.0.0.1", 0))
server.register_function(wait, "wait")
body = b"<methodCall><methodName>wait</methodName></methodCall>"
fields = b"Host: h\\r\\nContent-Type: text/xml\\r\\nContent-Length: %d\\r\\n" % len(body)
request = b"POST / HTTP/1.1\\r\\n" + fields + b"\\r\\n" + body
""",
}

#: Its handlers go on when the interpreter has begun to end, and wait for it then.
PROGRAM = """
import os, socket, sys, threading, time
inside, outside = os.pipe()
began = threading.Semaphore(0)
request = b"GET / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n"

def wait():
    began.release()
    os.read(inside, 1)

{kind}
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
clients = [socket.create_connection(server.server_address) for _ in range(5)]
for client in clients:
    client.sendall(request)
    began.acquire()

def sleeps(listdir=os.listdir, open=os.open, read=os.read, close=os.close, flags=os.O_RDONLY):
    # How often each thread has gone to sleep (proc(5)).
    found = {{}}
    for task in listdir("/proc/self/task"):
        file = open("/proc/self/task/" + task + "/status", flags)
        found[task] = read(file, 10000).split(b"\\nvoluntary_ctxt_switches:")[1].split()[0]
        close(file)
    return found

class Last:
    # What it needs is its own: modules may be gone.
    def __del__(self, clients=clients, sleeps=sleeps, os=os, clock=time.monotonic):
        before = sleeps()
        os.write(outside, b"go on")
        end = clock() + {patience}
        while sum(before.get(task) != times for task, times in sleeps().items()) < len(clients):
            os.sched_yield()
            if clock() > end:
                print("the handlers have not gone on", flush=True)
                return

sys.modules["last"] = Last()
"""


@pytest.mark.parametrize("kind", KINDS)
def test_daemon_threads_that_come_back_to_an_ending_interpreter_are_held(kind: str) -> None:
    """CPython before 3.14 ends them by pthread_exit, which crashed the process in native code."""
    program = PROGRAM.format(kind=KINDS[kind], patience=PATIENCE)
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
