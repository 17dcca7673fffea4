"""What the tests share: starting the server, talking to it byte by byte, watching its processes."""
