"""Downloads are resumed after an interruption, and kept only if the digest is right."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from modelrepo.generator.errors import SourceError
from modelrepo.generator.progress import Progress
from modelrepo.generator.system.download import fetch

CONTENT = bytes(range(256)) * 9000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT, and breaks off after the number of bytes in ``breaks``, one for each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.breaks: list[int] = []
        self.ranges: list[str | None] = []
        self.honours_ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if self.path != "/weights.pth":
            self.send_error(404, "Not Found")
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.honours_ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = start + self.server.breaks.pop(0) if self.server.breaks else len(CONTENT)
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def test_a_file_arrives(server: Server, tmp_path: Path) -> None:
    fetch(server.url, tmp_path / "cache/weights.pth", DIGEST[:8], Progress())
    assert (tmp_path / "cache/weights.pth").read_bytes() == CONTENT
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["weights.pth", "weights.pth.lock"]


def test_a_broken_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.breaks = [1_000_000]
    fetch(server.url, tmp_path / "weights.pth", DIGEST, Progress())
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000000-"]


def test_the_next_run_resumes_an_earlier_one(server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:5000])
    fetch(server.url, tmp_path / "weights.pth", DIGEST, Progress())
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT
    assert server.ranges == ["bytes=5000-"]


def test_a_server_that_knows_no_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.honours_ranges = False
    (tmp_path / "weights.pth.part").write_bytes(b"something else")
    fetch(server.url, tmp_path / "weights.pth", DIGEST, Progress())
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_a_complete_part_is_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    fetch(server.url, tmp_path / "weights.pth", DIGEST, Progress())
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_a_wrong_digest_is_refused_and_nothing_is_left(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"{server.url} does not have the expected content"):
        fetch(server.url, tmp_path / "weights.pth", "00000000", Progress())
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth.lock"]


def test_the_error_for_a_missing_file_has_the_status(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"can't download .*: Not Found"):
        fetch(server.url + "x", tmp_path / "weights.pth", DIGEST, Progress())
    assert len(server.ranges) == 1, "an answer is an answer: it is not asked again"


def test_a_download_gives_up_if_every_connection_breaks(server: Server, tmp_path: Path) -> None:
    server.breaks = [1000, 1000, 1000]
    with pytest.raises(SourceError, match="can't download"):
        fetch(server.url, tmp_path / "weights.pth", DIGEST, Progress())
    assert (tmp_path / "weights.pth.part").stat().st_size == 3000


def test_two_runs_that_want_the_same_file_download_it_once(server: Server, tmp_path: Path) -> None:
    runs = [
        threading.Thread(target=fetch, args=(server.url, tmp_path / "weights.pth", DIGEST, Progress()))
        for _ in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(timeout=30)
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT
    assert server.ranges == [None]


def test_the_proxy_is_that_of_now_and_not_of_the_first_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match="can't download"):
        fetch(server.url, tmp_path / "weights.pth", DIGEST, Progress())
    monkeypatch.delenv("http_proxy")
    fetch(server.url, tmp_path / "weights.pth", DIGEST, Progress())
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT
