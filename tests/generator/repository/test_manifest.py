"""Records that are damaged are named, whatever is wrong with them."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.repository.manifest import Manifest, Provenance, SourceRecord, read
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.findings import Verification


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Return the record of version 2 of `net`."""
    source = SourceRecord("onnx:net.onnx", Weights("file", "net.onnx", untrained=False), None, "as-is", 17, 8, ())
    provenance = Provenance("key", source, {}, {}, Verification(passed=None))
    created = "2026-11-30T12:00:00+00:00"
    path = tmp_path / "net/2.json"
    path.parent.mkdir()
    path.write_text(Manifest("net", 2, "onnxruntime", created, 16, 'name: "net"', {}, provenance).to_json())
    return path


def test_a_record_is_read_as_it_was_written(record: Path) -> None:
    assert read(record).to_json() == record.read_text()


@pytest.mark.parametrize(
    ("name", "value"),
    [("config", 5), ("created", "yesterday"), ("version", "2"), ("name", "other"), ("version", 1), ("files", [])],
)
def test_a_record_with_another_value_is_damaged(record: Path, name: str, value: Any) -> None:
    record.write_text(json.dumps({**json.loads(record.read_text()), name: value}))
    with pytest.raises(RepositoryError, match=r"net/2\.json is damaged"):
        read(record)


def test_a_record_that_is_no_text_is_told_briefly(record: Path) -> None:
    record.write_bytes(bytes(range(128, 256)))
    with pytest.raises(RepositoryError, match="is damaged: it is not UTF-8 text") as raised:
        read(record)
    assert "versions --rebuild net" in raised.value.hint
