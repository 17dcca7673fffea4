"""The options of `stdserve.run` and `stdserve.Server`, as types.

Made from the option table in crates/config by UPDATE=1 cargo test -p stdserve-config: do not edit.

Times are seconds, or texts such as "500ms", "30s", "5m"; sizes are bytes, or texts such as "64KiB", "512MiB".
docs/options.md says more of each option.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, TypedDict

Path: TypeAlias = str | os.PathLike[str]
Size: TypeAlias = int | str
Time: TypeAlias = float | str
Pairs: TypeAlias = str | Sequence[str] | Mapping[str, str]

__all__ = ["Pairs", "Path", "RunOptions", "ServerOptions", "Size", "Time"]


class ServerOptions(TypedDict, total=False):
    """Keywords of `stdserve.Server`; `stdserve.run` takes them too."""

    #: Path prefix of the application (SCRIPT_NAME). Default: none
    root_path: str
    #: Send files beneath it for X-Sendfile; repeatable.
    sendfile_root: Sequence[Path]
    #: Send files for X-Accel-Redirect; repeatable.
    accel_root: Pairs
    #: HOST:PORT, unix:PATH or fd://N; repeatable. Default: 127.0.0.1:8000
    bind: str | Sequence[str]
    #: Host, in place of --bind. Default: 127.0.0.1
    host: str
    #: Port, in place of --bind. Default: 8000
    port: int
    #: Unix socket, in place of --bind. Default: none
    uds: Path
    #: Mode of Unix sockets, in octal digits. Default: 0666
    unix_mode: int | str
    #: Connections waiting to be accepted. Default: 2048
    backlog: int
    #: Requests that run at once, per worker. Default: 16
    threads: int
    #: Most requests that are run back to back. Default: 64
    cohort: int
    #: Longest request line; 414 past it. Default: 4094
    limit_request_line: Size
    #: Most header fields; 431 past it. Default: 100
    limit_request_fields: int
    #: Longest header field; 431 past it. Default: 8190
    limit_request_field_size: Size
    #: Largest request head; 431 past it. Default: 64KiB
    limit_request_head: Size
    #: Largest request body; 413 past it. Default: 1GiB
    max_body: Size
    #: Part of a body that is kept in memory. Default: 1MiB
    body_buffer: Size
    #: Fewest bytes of a body per second; 408 below. Default: 240
    body_rate: Size
    #: Most that a worker buffers in all. Default: 256MiB
    buffer_total: Size
    #: Most that is buffered for a slow client. Default: 16MiB
    response_buffer: Size
    #: Most connections of a worker. Default: 15000
    worker_connections: int
    #: Most requests of a worker; 503 past it. Default: no limit
    limit_concurrency: int
    #: Most requests that wait for a thread; 503 past it. Default: no limit
    queue_size: int
    #: That is, when one has waited for 100 ms. Some requests are then answered in time where
    #: otherwise all would be late; those that wait in vain end by `--queue-timeout`. With
    #: `--queue-size` the oldest is refused, not the newest. Default: false
    lifo: bool
    #: For a request head to arrive; 408 after it. Default: 30s
    header_timeout: Time
    #: Over which --body-rate is judged. Default: 10s
    body_period: Time
    #: For the next request; 0 keeps none. Default: 5s
    keep_alive: Time
    #: For a free thread; 503 after it. Default: 30s
    queue_timeout: Time
    #: For a client to take more of its answer. Default: 30s
    write_timeout: Time
    #: For reading on after a refusal. Default: 2s
    linger_timeout: Time
    #: For running requests to end at a stop. Default: 30s
    graceful_timeout: Time
    #: For idle connections at a stop. Default: 1s
    drain_idle_timeout: Time
    #: Whose forwarded headers count: addresses, networks, unix, *. Default: 127.0.0.1,::1,unix
    forwarded_allow_ips: str | Sequence[str]
    #: Many simple clients close their sending half after the request and read on: they are served.
    #: `--no-half-close` treats them as gone. Default: true
    half_close: bool
    #: Tell each request's id in this response header. Default: none
    request_id_header: str
    #: Responses carry `Server: stdserve` where the application sends no such field. Default: true
    server_header: bool
    #: File, `-` for standard output, or none. Default: none
    access_logfile: Path
    #: gunicorn's atoms, or `json`. Default: %(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s"
    #: "%(a)s"
    access_logformat: str
    #: File, `-` for standard error, or none. Default: -
    error_logfile: Path
    #: The error log's lines: text or json. Default: text
    log_format: Literal["text", "json"]
    #: debug, info, warning, error or critical. Default: info
    log_level: Literal["debug", "info", "warning", "error", "critical"]
    #: Where large bodies are kept. Default: $TMPDIR, else /tmp
    temp_dir: Path


class RunOptions(ServerOptions, total=False):
    """Keywords of `stdserve.run`."""

    #: Read this file instead of stdserve.toml or pyproject.toml.
    config: Path
    #: The same as `()` behind the callable's name. Default: false
    factory: bool
    #: Serve a folder beneath a path; repeatable.
    static: Pairs
    #: Cache-Control by file; the first that fits.
    cache_control: Pairs
    #: Whose pages may read the files; * for all.
    cors: str | Sequence[str]
    #: Where such a file stands beside the one that is asked for, it is sent to clients that take
    #: it. Default: true
    precompressed: bool
    #: Where no compressed file stands beside it. Default: false
    compress: bool
    #: Media type by extension; repeatable. Default: a built-in table
    mime_type: Pairs
    #: Worker processes. Default: the CPUs
    workers: int | Literal["auto"]
    #: Saves memory and time to start. What the import leaves behind and forked workers cannot use
    #: or share (threads, open connections, listening sockets, event loops) is named, and nothing is
    #: served; `--preload=force` goes on all the same. Default: false
    preload: bool | Literal["force"]
    #: Watched are the Python files beneath the folder of the start and those of modules that were
    #: imported from outside of it, but for installed packages, and the file of the configuration. A
    #: change is loaded by a new worker, which takes the place of the old one without losing a
    #: request. What cannot be loaded is shown in the terminal, and the old worker stays until it is
    #: mended; at the start, where there is no old one, a page shows it. `--preload` means nothing
    #: beside it. Default: false
    reload: bool
    #: With --reload: watch these files too; repeatable. Default: Python files only
    reload_include: str | Sequence[str]
    #: With --reload: do not watch these files; repeatable. Default: nothing
    reload_exclude: str | Sequence[str]
    #: Requests after which a worker is replaced; 0: never. Default: 0
    max_requests: int
    #: Up to this many more requests, at random. Default: a tenth of --max-requests
    max_requests_jitter: int
    #: Time after which a worker is replaced; 0: never. Default: 0s
    max_lifetime: Time
    #: Memory beyond which a worker is replaced. Default: none
    max_rss: Size
    #: For one request in the application; 504 after it. Default: 0
    timeout: Time
    #: After which a request's stack is logged; 0 never. Default: 30s
    slow_request: Time
    #: After which all threads being busy is logged. Default: 60s
    deadlock_timeout: Time
    #: Otherwise that of the request alone; of a deadlock all are always shown. Default: false
    autopsy_all: bool
    #: Colours: auto, always or never. Default: auto
    color: Literal["auto", "always", "never"]
    #: Configure Python's logging by this file. Default: none
    log_config: Path
    #: Configure Python's logging by this dict. Default: none
    log_config_dict: str
    #: Operations plane: HOST:PORT, unix:PATH or none. Default: auto
    admin: str
    #: Name that the plane may be asked for by; repeatable. Default: none
    admin_host: str | Sequence[str]
    #: Change to this folder first. Default: the current folder
    chdir: Path
    #: Put first on Python's search path; repeatable.
    pythonpath: Sequence[Path]
    #: Set a variable of the environment; repeatable. Default: none
    env: Pairs
    #: Write the supervisor's number to this file. Default: none
    pid: Path
    #: The command returns when the server is ready (code 0) or has failed, with its message and its
    #: code. Standard streams are `/dev/null` from then on: give the error log a file. Under systemd
    #: or in a container leave it out. Default: false
    daemon: bool
    #: User that workers run as. Default: whoever starts it
    user: str
    #: Group that workers run as. Default: the user's
    group: str
    #: What new files may not be (umask(2)). Default: as it is
    umask: int | str
    #: Memory for messages between workers; 0: none. Default: 8MiB
    exchange_memory: Size
    #: Address space of a worker (RLIMIT_AS), or `none`. Default: none
    rlimit_as: Size
    #: Processor time of a worker (RLIMIT_CPU), or `none`. Default: none
    rlimit_cpu: Time
    #: Descriptors of a worker (RLIMIT_NOFILE), or `none`. Default: none
    rlimit_nofile: int | Literal["none"]
    #: Core dump of a worker (RLIMIT_CORE), or `none`. Default: none
    rlimit_core: Size
