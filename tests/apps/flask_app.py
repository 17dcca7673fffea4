"""A Flask application with sessions, forms and file uploads."""

from __future__ import annotations

import hashlib
from typing import Any

from flask import Flask, Response, flash, get_flashed_messages, redirect, request, send_file, session, url_for

app = Flask(__name__)
app.secret_key = "for tests only"

NOTES: list[str] = []


@app.get("/")
def index() -> str:
    """Who is logged in, and what was flashed."""
    return f"user={session.get('user', '')} flashed={'|'.join(map(str, get_flashed_messages()))}"


@app.route("/login", methods=["GET", "POST"])
def login() -> Any:
    """A form and its session."""
    if request.method == "GET":
        return '<form method="post"><input name="user"></form>'
    session["user"] = request.form["user"]
    flash(f"hello {request.form['user']}")
    return redirect(url_for("index"))


@app.post("/logout")
def logout() -> Any:
    """Ends the session."""
    session.clear()
    return redirect(url_for("index"))


@app.post("/notes")
def add_note() -> Any:
    """Adds what came as JSON or as a form."""
    note = request.get_json()["note"] if request.is_json else request.form["note"]
    NOTES.append(note)
    return {"count": len(NOTES)}, 201


@app.get("/notes")
def list_notes() -> Any:
    """Everything, in parts."""
    return {"notes": NOTES}


@app.post("/upload")
def upload() -> Any:
    """Size and SHA-256 of an uploaded file, and the form that came with it."""
    file = request.files["file"]
    digest, size = hashlib.sha256(), 0
    while block := file.stream.read(1 << 16):
        digest.update(block)
        size += len(block)
    return {"name": file.filename, "size": size, "sha256": digest.hexdigest(), "title": request.form["title"]}


@app.post("/raw")
def raw() -> Any:
    """Size of a body that is no form."""
    return {"size": len(request.get_data())}


@app.get("/stream")
def stream() -> Response:
    """Ten lines, one after the other."""
    return Response((f"line {number}\n" for number in range(10)), mimetype="text/plain")


@app.get("/source")
def source() -> Response:
    """This file, by wsgi.file_wrapper."""
    return send_file(__file__, mimetype="text/plain", conditional=True)


@app.get("/boom")
def boom() -> str:
    """Fails."""
    raise RuntimeError("boom as asked")
