"""The smallest Flask application."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    """Answer with one short line."""
    return "Hello, world!\n"
