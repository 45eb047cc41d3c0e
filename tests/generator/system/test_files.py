"""Times of files, as Triton reads them."""

import os
import time
from pathlib import Path

from modelrepo.generator.system.files import make_newer, newest_time


def test_a_file_gets_a_time_after_all_others_even_if_a_clock_was_ahead(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    old, config = tmp_path / "1/model.onnx", tmp_path / "config.pbtxt"
    for file in (old, config):
        file.touch()
    ahead = time.time_ns() + 10**12
    os.utime(old, ns=(ahead, ahead))
    assert newest_time(tmp_path) == ahead
    make_newer(config, newest_time(tmp_path))
    assert newest_time(tmp_path) > ahead
    assert newest_time(tmp_path / "nowhere") == 0


def test_a_file_that_is_the_newest_keeps_its_time(tmp_path: Path) -> None:
    file = tmp_path / "config.pbtxt"
    file.touch()
    written = file.stat().st_mtime_ns
    make_newer(file, written - 1)
    assert file.stat().st_mtime_ns == written
