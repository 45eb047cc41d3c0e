"""A package index on this machine, with one small wheel, and a proxy that reaches it under another name."""

import base64
import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

FILE = "stand_in-1-py3-none-any.whl"
REQUIREMENT = "stand-in==1"
USER, PASSWORD = "ann", "p@ss/word"  # of URLs: ann:p%40ss%2Fword
IN_URLS = "ann:p%40ss%2Fword"


def write_wheel(folder: Path) -> Path:
    """Write a wheel that pip and uv accept."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        archive.writestr("pytriton/tritonserver/bin/tritonserver", "#!/bin/sh\n")
        archive.writestr("stand_in-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: stand-in\nVersion: 1\n")
        archive.writestr("stand_in-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("stand_in-1.dist-info/RECORD", "")
    return folder / FILE


class Index(ThreadingHTTPServer):
    """An index: as PEP 503 or as PEP 691 says, for anyone or for USER only."""

    def __init__(self, wheel: Path, kind: Literal["json", "html"] = "json", *, secret: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.wheel, self.kind, self.secret = wheel.read_bytes(), kind, secret
        self.elsewhere = ""  # where its files are, if not beside its pages
        self.asked: list[str] = []
        self.credentials: list[str | None] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        return f"http://{IN_URLS + '@' if self.secret else ''}{self.host}/simple"

    def page(self) -> tuple[str, bytes]:
        digest = hashlib.sha256(self.wheel).hexdigest()
        place = f"../../files/{FILE}"
        if self.kind == "html":
            return "text/html", f'<!DOCTYPE html><a href="{place}#sha256={digest}">{FILE}</a>'.encode()
        file = {"filename": FILE, "url": place, "hashes": {"sha256": digest}}
        document = {"meta": {"api-version": "1.0"}, "name": "stand-in", "files": [file]}
        return "application/vnd.pypi.simple.v1+json", json.dumps(document).encode()


class Handler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.credentials.append(self.headers.get("Authorization"))
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.server.secret and self.headers.get("Authorization") != f"Basic {expected}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = self.path.removeprefix("http://index.test")
        if path == "/simple/stand-in/":
            self.answer(*self.server.page())
        elif path == f"/files/{FILE}" and self.server.elsewhere:
            self.send_response(302)
            self.send_header("Location", f"{self.server.elsewhere}/files/{FILE}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path == f"/files/{FILE}":
            self.answer("application/octet-stream", self.server.wheel)
        else:
            self.send_error(404, "Not Found")

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, kind: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def running(index: Index) -> Iterator[Index]:
    """Serve an index; as ``http_proxy`` it is also http://index.test/simple."""
    with index:
        threading.Thread(target=index.serve_forever, daemon=True).start()
        yield index
        index.shutdown()
