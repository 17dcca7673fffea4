"""Starts nginx with one worker, on a folder, as its authors would for speed: run_nginx.py PORT FOLDER."""

import os
import sys
import tempfile
from pathlib import Path

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {work}/pid;
error_log {work}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    server {{ listen 127.0.0.1:{port} backlog=2048; root {root}; }}
}}
"""

port, root = sys.argv[1:]
work = Path(tempfile.gettempdir()) / "stdserve-bench-nginx"
work.mkdir(exist_ok=True)
configuration = work / "nginx.conf"
configuration.write_text(CONFIGURATION.format(work=work, port=port, root=root))
os.execvp("nginx", ["nginx", "-c", str(configuration)])
