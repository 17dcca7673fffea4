"""The workloads: which application, what load, which figures count."""

from dataclasses import dataclass

from servers import FILES

# What a browser sends; with Host, which wrk adds itself, ten.
NINE_HEADERS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate",
    "Referer: http://127.0.0.1/a/page/before",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
    "Upgrade-Insecure-Requests: 1",
    "Cache-Control: max-age=0",
    "DNT: 1",
)


@dataclass(frozen=True)
class Workload:
    """One row of the bench."""

    name: str
    says: str
    app: str = "plain:hello"
    kind: str = "wsgi"
    """Which servers take part."""
    path: str = "/"
    connections: int = 64
    headers: tuple[str, ...] = ()
    method: str = "GET"
    body: int = 0
    """Bytes sent with each request."""
    answer: int = 14
    """Bytes of body that each response must have."""
    measures: tuple[str, ...] = ("cpu",)
    """Figures that go into the table of ratios."""
    threads: int | None = None
    """Threads for every threaded server; None: what the server table says."""
    beside: tuple[str, int] | None = None
    """Path and connections of a second load, which is not measured."""
    crowd: tuple[str, int] | None = None
    """Clients that do nothing (`idle`) or send a byte now and then (`drip`), and how many."""
    alone: bool = False
    """Each server runs while no other does: shared pages would be divided among them."""
    least: int = 0
    """Requests a second under which the slow ones have evidently held up the quick ones: a failure."""
    floor: bool = False
    """The bare loop without Python takes part."""


# Where a load holds threads, connections are at most 64: uWSGI spends a thread on each.
WORKLOADS = (
    Workload("hello", "one short line, 64 connections", floor=True),
    Workload("headers", "10 headers in, 10 out", app="plain:headers", headers=NINE_HEADERS),
    Workload("json", "1 KiB of JSON", app="plain:json", answer=1024),
    Workload("echo", "POST of 10 KiB, sent back", app="plain:echo", method="POST", body=10240, answer=10240),
    Workload("stream", "1 MiB from a generator", app="plain:stream", connections=16, answer=1 << 20),
    Workload("file", "1 MiB by wsgi.file_wrapper", app="plain:file", connections=16, answer=1 << 20),
    Workload("close", "a connection for each request", headers=("Connection: close",), floor=True),
    Workload("flask", "Flask, one short line", app="flask_app:app"),
    Workload("django", "Django, one short line", app="django_app:app"),
    Workload(
        "sleep",
        "the application sleeps 10 ms, 64 threads",
        app="plain:mixed",
        path="/sleep10",
        threads=64,
        least=1000,
        measures=("cpu", "rate", "p99"),
    ),
    Workload(
        "beside-sleep",
        "hello beside 16 that sleep 200 ms",
        app="plain:mixed",
        connections=48,
        threads=64,
        beside=("/sleep200", 16),
        least=1000,
        measures=("cpu", "rate", "p99"),
    ),
    Workload(
        "beside-compute",
        "hello beside 2 that compute 50 ms",
        app="plain:mixed",
        connections=48,
        beside=("/compute50", 2),
        least=500,
        measures=("rate", "p99"),
    ),
    Workload("idle", "hello beside 1,000 idle connections", crowd=("idle", 1000), least=500, floor=True),
    Workload("slow", "hello beside 200 that drip their headers", crowd=("drip", 200), least=500),
    Workload("light1", "hello, 1 connection", connections=1, measures=("cpu", "p99"), floor=True),
    Workload("light4", "hello, 4 connections", connections=4, measures=("cpu", "p99"), floor=True),
    Workload("files-1k", "a file of 1 KiB", str(FILES), "files", "/1k.bin", answer=1 << 10),
    Workload("files-1m", "a file of 1 MiB", str(FILES), "files", "/1m.bin", connections=16, answer=1 << 20),
    Workload("memory", "PSS of all processes after hello", measures=("pss",), alone=True),
)
