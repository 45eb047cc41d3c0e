"""Steps of minutes give a sign of life in a log too, but no flood of lines."""

from types import SimpleNamespace

import pytest

from modelrepo.cli.terminal import long_steps
from modelrepo.cli.terminal.long_steps import LongSteps, Ticking
from modelrepo.generator.progress import Progress


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, which only the test moves."""
    time = [0.0]
    monkeypatch.setattr(long_steps, "time", SimpleNamespace(monotonic=lambda: time[0]))
    return time


def said(capsys: pytest.CaptureFixture[str], now: list[float], *, quiet: bool) -> list[str]:
    """Return what a step of 100 s with a remark every second prints, without a terminal."""
    progress = Progress(LongSteps(quiet))
    with progress.step("measure", "soak"):
        for second in range(100):
            now[0] = float(second)
            progress.note(f"{second} s of about 2 min")
    return [line.strip() for line in capsys.readouterr().err.splitlines()]


def test_without_a_terminal_a_remark_is_printed_now_and_then(
    capsys: pytest.CaptureFixture[str], now: list[float]
) -> None:
    *remarks, _ = said(capsys, now, quiet=False)
    assert remarks == [f"soak … {second} s of about 2 min" for second in (30, 60, 90)]


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str], now: list[float]) -> None:
    assert said(capsys, now, quiet=True) == []


def test_on_a_terminal_a_remark_has_its_age_once_it_is_not_new(now: list[float]) -> None:
    remark = Ticking("soak … soak 3 of 12, 2 min of about 12 min", start=0.0)
    now[0] = 5.0
    assert str(remark.__rich__()) == "soak … soak 3 of 12, 2 min of about 12 min"
    now[0] = 42.0
    assert str(remark.__rich__()) == "soak … soak 3 of 12, 2 min of about 12 min; 42 s ago"
