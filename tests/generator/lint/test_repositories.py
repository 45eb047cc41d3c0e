"""Versions, links, stray folders, and repositories as a whole."""

import os
import threading
from pathlib import Path

import pytest

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.lint import check
from modelrepo.generator.lint.check import opened
from modelrepo.generator.lint.rules import entries, repositories, version_folders
from tests.differential.layouts import LAYOUTS, LIGHT, Layout

RIGHT = Layout("right", ("1/",))
RULES = (*repositories.RULES, *version_folders.RULES, *entries.RULES)


def codes(*paths: Path) -> list[str]:
    return sorted(found.code for found in check(paths, chosen=RULES))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_layout_has_its_findings(layout: Layout, tmp_path: Path) -> None:
    layout.write(tmp_path)
    found = [each for each in check(tmp_path, chosen=RULES) if each.code != "EMPTY"]
    assert sorted(each.code for each in found if each.severity == "error") == sorted(layout.errors)
    assert sorted(each.code for each in found if each.severity != "error") == sorted(layout.others)
    assert {each.model for each in found} <= {layout.name}


def test_files_in_the_root_are_fine(tmp_path: Path) -> None:
    RIGHT.write(tmp_path)
    (tmp_path / "README.md").write_text("x")
    (tmp_path / ".hidden").write_text("x")
    assert codes(tmp_path) == []


def test_a_repository_without_models_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("x")
    (found,) = check(tmp_path, chosen=RULES)
    assert (found.code, found.severity, found.model) == ("EMPTY", "warning", "")


def test_a_folder_that_is_no_repository_is_told_so(tmp_path: Path) -> None:
    for name in ("src", "docs"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.txt").write_text("x")
    found = check(tmp_path, chosen=RULES)
    assert [each.code for each in found] == ["EMPTY", "ROOT", "ROOT"]
    assert "none of the 2 folders is a model" in found[0].problem.says


def test_links_in_the_root_that_lead_nowhere_are_errors(tmp_path: Path) -> None:
    RIGHT.write(tmp_path)
    (tmp_path / "x").symlink_to("nowhere")
    (tmp_path / "y").symlink_to("y")
    (tmp_path / "z").symlink_to("right")
    found = [each for each in check(tmp_path) if each.model == ""]
    assert [(each.code, each.problem.place.file.name) for each in found] == [("ROOT-LINK", "x"), ("ROOT-LINK", "y")]


def test_a_model_alone_is_judged_without_its_repository(tmp_path: Path) -> None:
    RIGHT.write(tmp_path)
    Layout("none", ()).write(tmp_path)
    (tmp_path / "x").symlink_to("nowhere")
    assert codes(tmp_path / "right") == []
    assert codes(tmp_path / "none" / "config.pbtxt") == ["VDIR-NONE"]
    assert codes(tmp_path / "none", tmp_path / "right") == ["VDIR-NONE"]


def test_a_model_with_its_configuration_in_a_version_is_no_repository(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "config.pbtxt").write_text(f'name: "net" {LIGHT}')
    found = check(folder)
    assert [each.code for each in found] == ["ROOT", "CONFIG-PLACE"]
    assert found[0].problem.write == "Move 1/config.pbtxt into the folder net, where Triton looks for it"
    (folder / "1" / "1").mkdir()  # now it is a repository, with a model whose name is a number
    assert "NAME" in [each.code for each in check(folder)]


def test_a_model_is_known_by_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RIGHT.write(tmp_path)
    monkeypatch.chdir(tmp_path / "right")
    for path in (".", "config.pbtxt", "../right", "../right/"):
        (repository,) = opened([path])
        assert repository.asked == ("right",)


def test_a_model_without_a_configuration_is_no_repository(tmp_path: Path) -> None:
    Layout("net", ("1/model.onnx",), config=None).write(tmp_path)
    (repository,) = opened([tmp_path / "net"])
    assert repository.asked == ("net",)


@pytest.mark.parametrize(("file", "codes"), [("1/model.dali", []), ("1/model.py", ["AUTOFILL-GUESS"])])
def test_a_backend_in_the_name_is_no_guess(file: str, codes: list[str], tmp_path: Path) -> None:
    Layout("net.dali", (file,), config=LIGHT.removeprefix('backend: "light"')).write(tmp_path)
    found = check(tmp_path / "net.dali")  # a file that the core knows comes before the name
    assert [each.code for each in found if each.code.startswith("AUTOFILL")] == codes


@pytest.mark.parametrize("name", ["nothing", "file.txt"])
def test_what_is_neither_a_repository_nor_a_model_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(RepositoryError, match="can't check"):
        check(tmp_path / name)


def test_two_repositories_with_a_model_of_one_name(tmp_path: Path) -> None:
    for root in ("a", "b"):
        (tmp_path / root).mkdir()
        RIGHT.write(tmp_path / root)
    Layout("other", ("1/",)).write(tmp_path / "b")
    assert codes(tmp_path / "a", tmp_path / "b") == ["SAME-NAME", "SAME-NAME"]
    assert codes(tmp_path / "a", tmp_path / "a") == []
    assert codes(tmp_path / "a") == []


def test_each_configuration_that_may_take_the_place_is_judged(tmp_path: Path) -> None:
    Layout("net", ("1/", "configs/")).write(tmp_path)
    (tmp_path / "net/configs/h100.pbtxt").write_text(LIGHT.replace("dims: 1", "dims: 0"))
    (tmp_path / "net/configs/a10.pbtxt").write_text(LIGHT)
    (tmp_path / "net/configs/notes.txt").write_text("x")
    (tmp_path / "net/2.tmp").mkdir()
    found = [each for each in check(tmp_path) if each.code in ("DIM", "VDIR-NAME")]
    assert [(each.code, each.problem.place.file.name) for each in found] == [
        ("VDIR-NAME", "2.tmp"),
        ("DIM", "h100.pbtxt"),
        ("DIM", "h100.pbtxt"),
    ]
    assert found[1].problem.says.startswith("with --model-config-name=h100: ")


@pytest.mark.parametrize("name", ["näme €", "with space", 'quote"', "new\nline", os.fsdecode(b"bad\xff"), "-", "~"])
def test_names_may_have_any_bytes(name: str, tmp_path: Path) -> None:
    Layout(name, ("1/", os.fsdecode(b"f\xff"))).write(tmp_path)
    assert codes(tmp_path) == []


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    Layout("net", ("1/",), config=None).write(tmp_path)
    os.mkfifo(tmp_path / "net/config.pbtxt")
    assert codes(tmp_path) == ["CONFIG-KIND"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    Layout("file", ("1/",)).write(tmp_path)
    Layout("folder", ("1/",)).write(tmp_path)
    (tmp_path / "file/config.pbtxt").chmod(0)
    (tmp_path / "folder").chmod(0)
    try:
        found = check(tmp_path, chosen=RULES)
    finally:
        (tmp_path / "folder").chmod(0o755)
    assert [(each.code, each.model) for each in found] == [("READ", "file"), ("READ", "folder")]


def test_a_configuration_of_100_megabytes_is_not_read(tmp_path: Path) -> None:
    Layout("net", ("1/",)).write(tmp_path)
    with (tmp_path / "net/config.pbtxt").open("ab") as file:
        file.truncate(100 << 20)
    assert codes(tmp_path) == ["CONFIG-SIZE"]


def test_a_repository_may_change_while_it_is_read(tmp_path: Path) -> None:
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            layout = Layout(f"net{number % 7}", ("1/", "2/x", "x -> nowhere"))
            layout.write(tmp_path)
            folder = tmp_path / layout.name
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
            folder.rmdir()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            check(tmp_path)
    finally:
        stop.set()
        thread.join()
