"""The image of a repository's Python steps has the packages that they require."""

from pathlib import Path

from modelrepo.generator.ensembles import image
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.triton.releases import NEWEST, release_named

RELEASE = release_named(NEWEST)


def require(root: Path, model: str, version: int, *requirements: str) -> None:
    folder = root / model / str(version)
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text("".join(f"{each}\n" for each in requirements))


def test_the_newest_version_of_each_step_counts(tmp_path: Path) -> None:
    root = tmp_path / "models"
    require(root, "decode", 9, "pillow<11")
    require(root, "decode", 10, "pillow")
    require(root, "tokens", 1, "tokenizers", "regex")
    (root / "net" / "1").mkdir(parents=True)
    (root / "config.txt").write_text("a file beside the models")
    folder = image.write(Repository(root), RELEASE)
    assert folder == tmp_path / ".modelrepo/models/image"
    assert (folder / "requirements.txt").read_text() == "# decode\npillow\n# tokens\ntokenizers\nregex\n"
    assert f"ARG IMAGE={RELEASE.image}\nFROM ${{IMAGE}}\n" in (folder / "Dockerfile").read_text()


def test_without_requirements_there_is_no_image(tmp_path: Path) -> None:
    root = tmp_path / "models"
    require(root, "decode", 1, "pillow")
    image.write(Repository(root), RELEASE)
    (root / "decode/1/requirements.txt").unlink()
    assert image.write(Repository(root), RELEASE) is None
    assert not (tmp_path / ".modelrepo/models/image").exists()
