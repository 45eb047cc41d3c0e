"""A source that never ends, or ends the process: `generate` ends, says so in one line, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelrepo.generator.options.parsers import read_seconds
from tests.conftest import PROJECT, Generate, assert_refused, snapshot

# `generate` with a numpy model whose answers come from the code of a test, which says when it is asked.
PROGRAM = """
import ctypes, itertools, os, signal, sys, threading, time
from dataclasses import replace
from modelrepo.cli import entry
from modelrepo.generator.export import EXPORTERS
from modelrepo.generator.sources import SOURCES
from modelrepo.generator.system import supervised
from tests import numpy_framework

supervised.GRACE_SECONDS = 0.3

def hang(arrays):
    os.write(2, b"asked\\n")
    {code}

def load(name, *rest):
    source = numpy_framework.load(name, *rest)
    return replace(source, run=hang) if name == "linear" else source

numpy_framework.add(SOURCES, EXPORTERS)
SOURCES["numpy"] = replace(numpy_framework.SOURCE, load=load)
entry.generate()
"""
LOOP = "while True: pass"
STUBBORN = """
    while True:
        try: time.sleep(0.01)
        except BaseException: pass
"""
# C code that holds Python's lock, and looks at no signals.
LOCKED = "sum(itertools.repeat(0))"
THREAD = "thread = threading.Thread(target=threading.Event().wait); thread.start(); thread.join()"
CATCHING = """
    try: threading.Event().wait()
    except BaseException: return {"output": arrays["input"][:, :3]}
"""
RAISING = """
    try: threading.Event().wait()
    except BaseException: raise ValueError("mine") from None
"""
MODELS = ("--model", "numpy:linear", "--model", "numpy:mixes_samples")


@pytest.fixture
def started(workdir: Path) -> Iterator["Start"]:
    start = Start(workdir)
    yield start
    for process in start.processes:
        with process:  # closes its pipes
            process.kill()


class Start:
    """Starts `generate` in a process of its own."""

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir
        self.processes: list[subprocess.Popen[str]] = []

    def __call__(self, code: str, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.replace("{code}", code), *MODELS, "--live-check", "off", "-q", *arguments],
            cwd=self.workdir,
            env={**os.environ, "PYTHONPATH": f"{PROJECT}/src:{PROJECT}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def asked(self, code: str, *arguments: str) -> "subprocess.Popen[str]":
        """Start it, and return when the source is asked."""
        process = self(code, *arguments)
        assert process.stderr is not None
        assert process.stderr.readline() == "asked\n"
        return process


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Return the exit code and both outputs of a process."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err.replace("asked\n", "")


@pytest.mark.parametrize("code", [LOOP, THREAD, CATCHING, RAISING])
def test_a_source_that_never_ends_costs_one_model(code: str, started: Start, workdir: Path) -> None:
    number, out, err = ended(started(code, "--source-timeout", "0.5", "--json"))
    assert [row["status"] for row in json.loads(out)["results"]] == ["failed", "published"]
    assert (number, err.count("error: ")) == (3, 1)
    assert (
        "error: linear: asking numpy:linear does not end within 0.5 seconds. Give it more time with --source-timeout"
        in err
    )
    assert not (workdir / ".modelrepo/model_repository/staging").exists()


@pytest.mark.parametrize("code", [STUBBORN, LOCKED])
def test_a_source_that_nothing_stops_ends_the_run(code: str, started: Start, workdir: Path) -> None:
    number, out, err = ended(started(code, "--source-timeout", "0.5", "--json"))
    assert (number, err.count("error: ")) == (3, 1)
    assert "asking numpy:linear does not end within 0.5 seconds, and can't be stopped, so the run has ended" in err
    assert json.loads(out)["error"]["exit_code"] == 3
    assert snapshot(workdir) == {}


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (LOOP, signal.SIGTERM),
        (CATCHING, signal.SIGINT),
        (RAISING, signal.SIGTERM),
        (STUBBORN, signal.SIGINT),
        (LOCKED, signal.SIGTERM),
    ],
)
def test_an_interrupt_ends_a_run_whose_source_never_ends(
    code: str, number: signal.Signals, started: Start, workdir: Path
) -> None:
    process = started.asked(code)
    process.send_signal(number)
    exit_code, _, err = ended(process)
    assert (exit_code, err.count("error: ")) == (130, 1)
    assert err.startswith("error: interrupted")
    assert snapshot(workdir) == {}


def test_ctrl_c_at_a_terminal_reaches_both_processes_and_counts_once(started: Start, workdir: Path) -> None:
    process = started.asked(LOOP)
    os.killpg(process.pid, signal.SIGINT)
    exit_code, _, err = ended(process)
    assert (exit_code, err.count("error: ")) == (130, 1)
    assert snapshot(workdir) == {}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ctypes.string_at(0)", "generate was ended by SIGSEGV while asking numpy:linear. A library has crashed"),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "ended by SIGKILL while asking numpy:linear. The machine may have run",
        ),
        ("os._exit(0)", "generate was ended while asking numpy:linear, by code that calls exit"),
        ("os.closerange(3, 100); os._exit(0)", "generate was ended while asking numpy:linear, by code that calls exit"),
        ("os.abort()", "generate was ended by SIGABRT while asking numpy:linear"),
    ],
)
def test_a_source_that_ends_the_process_is_named(code: str, said: str, started: Start, workdir: Path) -> None:
    number, out, err = ended(started(code, "--json"))
    assert (number, err.count("error: ")) == (1, 1)
    assert said in err
    assert json.loads(out)["error"]["exit_code"] == 1
    assert snapshot(workdir) == {}


def test_processes_that_a_killed_source_started_end_with_it(started: Start, workdir: Path) -> None:
    process = started.asked(
        f'open("worker", "w").write(str(os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600"))); {LOCKED}'
    )
    while not (workdir / "worker").exists() or not (workdir / "worker").read_text():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 130
    assert not Path(f"/proc/{(workdir / 'worker').read_text()}").exists()


def test_a_killed_supervisor_takes_its_process_along(started: Start) -> None:
    process = started.asked(LOOP)
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    while Path(f"/proc/{child}").exists() and Path(f"/proc/{child}/stat").read_text().split()[2] != "Z":
        time.sleep(0.01)


@pytest.mark.parametrize("value", ["0", "-3", "soon", "nan", "inf", "5 days", ""])
def test_a_time_that_is_none_is_refused(value: str, generate: Generate) -> None:
    outcome = generate("--model", "numpy:linear", "--source-timeout", value)
    expected = "expected a number of seconds, or a time such as 90s, 10m or 2h"
    assert_refused(outcome, 2, f"--source-timeout = {value!r}: {expected}")


@pytest.mark.parametrize(("written", "seconds"), [("90", 90), ("1.5s", 1.5), ("10m", 600), ("2h", 7200), (30, 30)])
def test_a_time_is_written_in_seconds_minutes_or_hours(written: object, seconds: float) -> None:
    assert read_seconds(written) == seconds
