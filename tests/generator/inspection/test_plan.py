"""Plans: their header tells which releases load them."""

from pathlib import Path

import pytest

from modelrepo.generator.inspection.plan import inspect
from tests.generator.inspection.damage import survives
from tests.plans import header


def verdicts(path: Path) -> dict[str, str]:
    return {release: use.verdict for use in inspect(path).uses for release in use.releases}


def test_a_plan_loads_in_the_release_whose_tensorrt_built_it(tmp_path: Path) -> None:
    path = tmp_path / "model.plan"
    path.write_bytes(header(10, 15, 1, 29) + bytes(100))
    found = inspect(path)
    assert found.valid
    assert found.facts == (("built by", "TensorRT 10.15.1.29"),)
    assert found.bytes == 128
    by_release = verdicts(path)
    assert by_release["26.02"] == "yes"
    assert by_release["24.10"] == by_release["25.12"] == "no"  # older
    assert by_release["26.03"] == by_release["26.08"] == "unknown"  # newer: it may be version compatible
    assert by_release["26.09"] == by_release["26.01"] == "unknown"  # not known, or only in part


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "it is empty. The build was interrupted: build the plan again"),
        (header(10, 15, 1, 29)[:20], "it is cut off after 20 bytes. Build the plan again"),
        (b"ftrt" + bytes(60), "it is damaged: it names no TensorRT that built it. Build the plan again"),
        (b"vtrt" + bytes(30), "it is a plan of TensorRT-RTX, which Triton doesn't load. Build it with TensorRT itself"),
        (b"\x08\x08net", "it is not a TensorRT plan: it starts with 08 08 6e 65"),
    ],
)
def test_a_file_that_is_not_a_plan_says_what_it_is(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "model.plan"
    path.write_bytes(content)
    assert inspect(path).faults == (fault,)


def test_a_missing_plan_is_a_fault(tmp_path: Path) -> None:
    assert inspect(tmp_path / "model.plan").faults == ("it can't be read: No such file or directory",)


def test_damaged_plans_never_raise(tmp_path: Path) -> None:
    path = tmp_path / "model.plan"
    path.write_bytes(header(10, 15, 1, 29) + bytes(100))
    assert any(not each.valid for each in survives(inspect, path))
