"""Places that models come from, for tests: an HTTP server that drops and lies, git over HTTP, a hub, S3. They listen on
this machine alone and end with the test."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Place:
    """An HTTP server whose `answer` handles requests; `asked` are their method, path and headers."""

    answer: Callable[[BaseHTTPRequestHandler], None]
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def __enter__(self) -> Place:
        place = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                place.asked.append((self.command, self.path, headers))
                place.answer(self)

            do_HEAD = do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def gets(self, part: str) -> int:
        return sum(part in path for _, path, _ in self.asked)


def reply(request: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def dropping(content: bytes, drop_at: int) -> Callable[[BaseHTTPRequestHandler], None]:
    """A file with an ETag and ranges, whose first connection breaks after `drop_at` bytes."""
    dropped = threading.Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        if request.headers.get("If-None-Match") == etag:
            return reply(request, 304, ETag=etag)
        span = request.headers.get("Range")
        if span and request.headers.get("If-Range") == etag:
            start = int(span.removeprefix("bytes=").rstrip("-"))
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return reply(request, 206, content[start:], ETag=etag, Content_Range=span)
        if dropped.is_set():
            return reply(request, 200, content, ETag=etag)
        dropped.set()
        request.send_response(200)
        request.send_header("ETag", etag)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[:drop_at])
        request.close_connection = True
        return None

    return answer


def git(*arguments: object, folder: Path | None = None) -> str:
    """Runs git with an author of its own and without anybody's settings."""
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    author = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *author, *map(str, arguments)], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"git {arguments}: {done.stderr}"
    return done.stdout.strip()


def repositories(folder: Path, user: str | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    """git's own server for the repositories of a folder; with `user`, for those alone who send that authorization."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        if user and request.headers.get("Authorization") != user:
            return reply(request, 401, WWW_Authenticate='Basic realm="git"')
        url = urlsplit(request.path)
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "REQUEST_METHOD": request.command,
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        return reply(request, status, content, **headers)

    return answer


def hub(files: dict[str, bytes], commit: str, token: str | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    """A stand-in for Hugging Face's hub with the model `org/iris`, by the answers that its documentation describes."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        path = urlsplit(request.path).path
        if token and request.headers.get("Authorization") != f"Bearer {token}":
            return reply(request, 401)
        if path == "/api/models/org/iris/revision/main":
            siblings = [{"rfilename": name, "size": len(content), **large(content)} for name, content in files.items()]
            return reply(request, 200, json.dumps({"sha": commit, "siblings": siblings}).encode())
        name = path.removeprefix(f"/org/iris/resolve/{commit}/")
        return reply(request, 200, files[name]) if name in files else reply(request, 404)

    def large(content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        return {"lfs": {"sha256": digest, "size": len(content)}} if len(content) > 500 else {}

    return answer
