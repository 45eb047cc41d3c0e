"""What servers that ended leave behind does not keep others from starting."""

from pathlib import Path

from modelrepo.server.running.guardian import NOTE
from modelrepo.server.running.start import ALIVE, _sweep


def test_an_environment_that_is_half_unpacked_is_removed(tmp_path: Path) -> None:
    left, run = tmp_path / "python_env_abcdef", tmp_path / "runs" / "one"
    (left / "0").mkdir(parents=True)
    run.mkdir(parents=True)
    (run / ALIVE).touch()
    (run / NOTE).write_text(str(left))
    _sweep(run.parent)
    assert not left.exists()
    assert not run.exists()
