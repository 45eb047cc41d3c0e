"""Answers of a server."""

import subprocess
from pathlib import Path

import pytest

from modelrepo.server.running.handle import Ports, Server


def test_a_reason_that_is_not_utf_8_is_shown_as_far_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guardian = subprocess.Popen(["true"])
    answer = b'[{"name": "net", "version": "1", "state": "UNAVAILABLE", "reason": "input \xff is unknown"}]'
    monkeypatch.setattr(Server, "_request", lambda *_: (200, answer))
    (tmp_path / "log").touch()
    server = Server(Ports(1, 2, 3), tmp_path, tmp_path / "log", guardian.pid, "a server", guardian)
    assert [state.reason for state in server.models()] == ["input \ufffd is unknown"]
    guardian.wait()
