"""Running external commands: output while one runs, and what is left of a stopped one."""

import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from modelrepo.generator.system import process

# No command here takes so long, but on a machine that does other things.
PATIENCE = 60.0


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def until(path: Path) -> str:
    """Return a shell command that waits for a file."""
    return f"until [ -e {path} ]; do sleep 0.01; done"


def test_lines_are_passed_on_as_they_come_and_both_outputs_kept(tmp_path: Path) -> None:
    """The command continues only after its first line was passed on."""
    heard: list[str] = []

    def hear(line: str) -> None:
        heard.append(line)
        (tmp_path / "heard").touch()

    script = f"echo one; echo aside >&2; {until(tmp_path / 'heard')}; printf two; exit 3"
    done = process.run(sh(script), timeout=PATIENCE, heard=hear)
    assert (done.code, done.out, done.err) == (3, "one\ntwo", "aside\n")
    assert heard == ["one", "two"]


def test_much_of_both_outputs_does_not_block() -> None:
    done = process.run(
        sh("yes out | head -20000; yes err | head -20000 >&2"), timeout=PATIENCE, heard=lambda line: None
    )
    assert (done.out.count("out"), done.err.count("err")) == (20000, 20000)


def test_a_listener_may_interrupt_and_the_command_is_killed(tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(sh(f"echo $$ > {tmp_path}/pid; echo go; sleep 60"), timeout=PATIENCE, heard=interrupt)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_command_with_a_listener_can_time_out_or_be_stopped() -> None:
    with pytest.raises(subprocess.TimeoutExpired) as raised:
        process.run(sh("echo go; sleep 60"), timeout=0.3, heard=lambda line: None)
    assert raised.value.timeout == 0.3
    stop = threading.Event()
    with pytest.raises(process.Stopped):
        process.run(sh("echo go; sleep 60"), timeout=PATIENCE, stop=stop, heard=lambda line: stop.set())


def test_outputs_that_a_child_keeps_open_do_not_block() -> None:
    start = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        process.run(sh("exec >&-; setsid sleep 30 & exit 0"), timeout=0.5, heard=lambda line: None)
    assert time.monotonic() - start < 25


def test_lines_are_text_whatever_bytes_are_printed() -> None:
    heard: list[str] = []
    done = process.run(
        sh(r"printf 'a\r\n\303'; sleep 0.2; printf '\251\377\nlast'"), timeout=PATIENCE, heard=heard.append
    )
    assert heard == ["a", "é�", "last"]
    assert done.out == "a\né�\nlast"


def test_an_interrupt_while_a_command_starts_does_not_leave_it_running(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []
    real = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> "subprocess.Popen[str]":
        started.append(real(*arguments, **options))
        signal.raise_signal(signal.SIGINT)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            process.run(["sleep", "60"], timeout=60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert started[0].returncode == -signal.SIGKILL
