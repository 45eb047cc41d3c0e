"""The format of a file is found from its content; a missing, broken or renamed file gets one line with a next step."""

import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources import formats
from modelrepo.generator.system.quiet import quiet
from tests import onnx_files

ONNX = onnx_files.model().SerializeToString()


def zipped(*names: str, content: bytes = b"{}") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8)


def hdf5() -> bytes:
    """The superblock of an HDF5 file of 100 bytes: version 0, offsets of 8 bytes, the end of file at byte 40."""
    return b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + bytes(24) + (100).to_bytes(8, "little") + bytes(52)


def tflite() -> bytes:
    """A Model with one buffer of 4 bytes, as FlatBuffers lays it out: each offset counts from its own place."""
    vtable = struct.pack("<7H", 14, 8, 0, 0, 0, 0, 4) + bytes(2)
    model = struct.pack("<iI", 16, 4)  # 24: back to its vtable at 8; its field 4 is 4 bytes on from 28
    vector = struct.pack("<II", 1, 12)  # 32: one buffer, at 36 + 12
    inner = struct.pack("<3H", 6, 8, 4) + bytes(2)  # 40: the buffer's vtable
    buffer = struct.pack("<iI", 8, 4)  # 48: its data is 4 on from 52
    data = struct.pack("<I", 4) + b"data"  # 56
    return struct.pack("<I", 24) + b"TFL3" + vtable + model + vector + inner + buffer + data


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model"), io.BytesIO())
    return file.getvalue()


def arrays() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=np.zeros(3))
    return file.getvalue()


STATE = b"\x80\x02}q\x00(X\x01\x00\x00\x00wq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02u."
MODULE = b"\x80\x02ctorch.nn.modules.linear\nLinear\nq\x00)\x81q\x01."
PICKLE = pickle.dumps({"a": [1, 2, 3]})
# What a file is: its content.
FILES: dict[str, bytes] = {
    "onnx": ONNX,
    "pt2": zipped("net/archive_format", "net/models/model.json"),
    "torchscript": zipped("net/constants.pkl", "net/data.pkl", "net/code/__torch__.py"),
    "state dict": zipped("state/data.pkl", "state/data/0", content=STATE),
    "torch module": zipped("net/data.pkl", "net/data/0", content=MODULE),
    "keras": zipped("config.json", "metadata.json", "model.weights.h5"),
    "hdf5": hdf5(),
    "tflite": tflite(),
    "safetensors": safetensors(),
    "skops": zipped("schema.json"),
    "pickle": PICKLE,
    "saved_model.pb": b"\x08\x01\x12\x03abc",
    "graph": b"\x0a\x03abc\x22\x00",
    "arrays": arrays(),
    "plan": b"ptrt" + bytes(20),
    "gguf": b"GGUF" + bytes(20),
    "archive": tarred(),
    "page": b"\n<!DOCTYPE html><title>Sign in</title>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n",
    "text": "{“model”: 1}\n".encode(),
    "unknown": bytes(range(256)),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_recognised_by_its_content(kind: str, workdir: Path) -> None:
    Path("model.bin").write_bytes(FILES[kind])
    assert formats.kind_of(Path("model.bin")) == kind
    if kind in {**formats.READ, **formats.WEIGHTS}:
        assert formats.expect(Path("model.bin"), "tflite", kind) == kind


@pytest.mark.parametrize("kind", FILES)
def test_another_format_is_refused_and_the_hint_says_what_it_is(
    kind: str, workdir: Path, golden: Callable[[str, str], None]
) -> None:
    Path("model").write_bytes(FILES[kind])
    wanted = "onnx" if kind != "onnx" else "keras"
    assert refusal(Path("model"), wanted, golden, f"is-{kind.replace(' ', '-')}")


def test_a_format_without_a_title_may_be_wanted_beside_others(workdir: Path) -> None:
    Path("model").write_text("words")
    with pytest.raises(SourceError, match="model is not a file of PyTorch weights"):
        formats.expect(Path("model"), "state dict", "torch module")


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress], ids=["zlib", "gzip"])
def test_a_compressed_pickle_is_a_pickle_and_other_compressed_files_are_archives(
    compress: Callable[[bytes], bytes], workdir: Path
) -> None:
    Path("model").write_bytes(compress(PICKLE))
    assert formats.kind_of(Path("model")) == "pickle"
    Path("model").write_bytes(compress(b"words"))
    assert formats.kind_of(Path("model")) == "archive"


def test_a_zip_of_anything_else_is_an_archive(workdir: Path) -> None:
    for content in (zipped("a.txt"), zipped()):
        Path("model").write_bytes(content)
        assert formats.kind_of(Path("model")) == "archive"


@pytest.mark.parametrize("kind", ["onnx", "pt2", "keras", "hdf5", "tflite", "safetensors", "pickle"])
@pytest.mark.parametrize("share", [0.6, 0.99])
def test_a_truncated_file_is_refused(kind: str, share: float, workdir: Path) -> None:
    content = FILES[kind]
    Path("model").write_bytes(content[: min(len(content) - 1, int(len(content) * share))])
    with pytest.raises(SourceError, match="model is truncated"):
        formats.expect(Path("model"), kind)


def test_an_archive_with_a_damaged_name_is_refused(workdir: Path) -> None:
    with zipfile.ZipFile("model", "w") as archive:
        archive.writestr("größe", b"")
    content = Path("model").read_bytes()
    Path("model").write_bytes(content.replace("größe".encode(), b"gr\xff\xff\xff\xffe"))
    with pytest.raises(SourceError, match="model is truncated"):
        formats.kind_of(Path("model"))


def test_a_truncated_archive_is_not_mistaken_for_one_inside_it(workdir: Path) -> None:
    content = zipped("outer", content=FILES["state dict"])
    Path("model").write_bytes(content[: content.index(b"outer", 100)])
    with pytest.raises(SourceError, match="model is truncated"):
        formats.kind_of(Path("model"))


def refusal(path: Path, wanted: str, golden: Callable[[str, str], None], name: str) -> str:
    with pytest.raises(SourceError) as caught:
        formats.expect(path, wanted)
    text = str(caught.value)
    assert "\n" not in text
    golden(f"messages/formats/{name}.txt", f"{text}\n")
    return text


@pytest.mark.parametrize("case", ["missing", "near", "no-folder", "empty", "truncated", "unreadable"])
def test_an_incomplete_file_gets_one_line(case: str, workdir: Path, golden: Callable[[str, str], None]) -> None:
    path = Path("nowhere/net.keras" if case == "no-folder" else "net.keras")
    if case in ("near", "truncated", "empty"):
        name = "nets.keras" if case == "near" else "net.keras"
        Path(name).write_bytes({"near": FILES["keras"], "truncated": FILES["keras"][:40], "empty": b""}[case])
    if case == "unreadable":
        path.symlink_to(path)
    refusal(path, "keras", golden, case)


@pytest.mark.parametrize("name", ["../escape.py", "/etc/passwd", "a/../../b", "..\\up", "C:\\up"])
def test_an_archive_with_members_outside_of_it_is_refused(name: str, workdir: Path) -> None:
    Path("net.keras").write_bytes(zipped("config.json", "metadata.json", name))
    with pytest.raises(SourceError, match="which leads outside of the archive") as caught:
        formats.expect(Path("net.keras"), "keras")
    assert caught.value.message == f"net.keras holds {name!r}, which leads outside of the archive"


def test_an_archive_with_a_link_is_refused(workdir: Path) -> None:
    link = zipfile.ZipInfo("model.weights.h5")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile("net.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", "{}")
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(SourceError, match="leads outside of the archive"):
        formats.expect(Path("net.keras"), "keras")


FOLDERS: dict[str, tuple[str, ...]] = {
    "savedmodel": ("saved_model.pb",),
    "hf": ("config.json", "model.safetensors"),
    "model-inside": ("notes.txt", "net.onnx"),
    "nothing": (),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_is_recognised_by_its_content(case: str, workdir: Path, golden: Callable[[str, str], None]) -> None:
    Path("net").mkdir()
    for name in FOLDERS[case]:
        Path("net", name).write_bytes(ONNX if name.endswith("onnx") else b"text")
    refusal(Path("net"), "onnx", golden, f"folder-{case}")


def test_a_saved_model_is_a_folder_not_a_file(workdir: Path, golden: Callable[[str, str], None]) -> None:
    Path("net").mkdir()
    refusal(Path("net"), "savedmodel", golden, "savedmodel-empty-folder")
    Path("net/saved_model.pb").write_bytes(FILES["saved_model.pb"])
    assert formats.expect(Path("net"), "savedmodel") == "savedmodel"
    refusal(Path("net/saved_model.pb"), "savedmodel", golden, "savedmodel-its-file")


def test_a_large_file_takes_a_few_reads(workdir: Path) -> None:
    """A sparse file of 3 GB, all of it a graph, is recognised without reading it."""
    size = 3 << 30
    with Path("net.onnx").open("wb") as file:
        file.write(b"\x08\x08\x3a" + _varint(size - 8))
        file.truncate(size)
    script = (
        "import re, sys; from pathlib import Path; from modelrepo.generator.sources import formats\n"
        "assert formats.kind_of(Path('net.onnx')) == 'onnx'\n"
        "assert not {'torch', 'onnx', 'tensorflow', 'numpy'} & set(sys.modules)\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 100_000  # KiB


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def test_the_formats_are_those_that_the_frameworks_write(workdir: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(3, 2).eval()
    with quiet():
        torch.export.save(torch.export.export(module, (torch.ones(2, 3),)), "net.pt2")
        torch.jit.save(torch.jit.trace(module, torch.ones(2, 3)), "net.pt")
    torch.save(module.state_dict(), "state.pth")
    torch.save({"epoch": 1, "model": module.state_dict()}, "checkpoint.pth")
    torch.save(module.state_dict(), "old.pth", _use_new_zipfile_serialization=False)
    torch.save(module, "module.pth")
    torch.save(module, "old_module.pth", _use_new_zipfile_serialization=False)
    from safetensors.torch import save_file

    save_file(module.state_dict(), "state.safetensors")
    wanted = {
        "net.pt2": "pt2",
        "net.pt": "torchscript",
        "state.pth": "state dict",
        "checkpoint.pth": "state dict",
        "old.pth": "state dict",
        "module.pth": "torch module",
        "old_module.pth": "torch module",
        "state.safetensors": "safetensors",
    }
    assert {name: formats.kind_of(Path(name)) for name in wanted} == wanted


def test_a_pipe_is_refused_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.keras")
    with pytest.raises(SourceError, match=r"net\.keras is not a file"):
        formats.expect(tmp_path / "net.keras", "keras")
