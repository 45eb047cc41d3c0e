"""What killed servers leave behind does not hinder the next one."""

import os
import subprocess
import sys
from pathlib import Path

from modelrepo.server.running.guardian import NOTE, EnvironmentFolders, _named_in_memory
from modelrepo.server.running.start import ALIVE, _sweep


def test_a_killed_server_that_was_unpacking_an_environment_is_cleaned_up(tmp_path: Path) -> None:
    environment = tmp_path / "python_env_abcdef"
    (environment / "0").mkdir(parents=True)
    run = tmp_path / "runs/1"
    run.mkdir(parents=True)
    (run / ALIVE).touch()
    (run / NOTE).write_text(str(environment))
    _sweep(tmp_path / "runs")
    assert not environment.exists()
    assert not run.exists()


def test_a_guardian_removes_an_environment_that_was_being_unpacked(tmp_path: Path) -> None:
    environment = tmp_path / "python_env_abcdef"
    (environment / "0").mkdir(parents=True)
    folders = EnvironmentFolders(0, tmp_path / NOTE)
    folders.own = {str(environment)}
    folders.remove()
    assert not environment.exists()


def test_a_server_may_have_files_of_any_name_in_its_memory(tmp_path: Path) -> None:
    library = tmp_path / os.fsdecode(b"libtriton_\xff\x0b.so")
    library.write_bytes(bytes(4096))
    code = "import mmap, sys; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, library], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert os.fsencode(library) in Path(f"/proc/{process.pid}/maps").read_bytes()
        assert _named_in_memory(process.pid) == set()
        process.kill()
