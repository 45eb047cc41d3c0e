"""ONNX models run by ONNX Runtime in this process, on the CPU."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError, VerificationError, first_line, refused, shown
from modelrepo.generator.graphs import outline
from modelrepo.generator.specs.tensors import Arrays

# From this size on, copies of the weights matter: ONNX Runtime reads the whole file, copies all, and packs most.
LARGE_BYTES = 100 << 20
# Optimizations that multiply the weights of a convolution by the factors after it, and hold both in the meantime.
COPYING = ("ConvAddFusion", "ConvBNFusion", "ConvMulFusion")
# Beginnings of some of ONNX Runtime's reasons: the file, or a line of its own source code with its function.
LOADING = re.compile(r"^Load model from .*? failed:\s*")
SOURCE_LINE = re.compile(r"^(?:/onnxruntime_src/\S+:\d+ \S.*?\)(?: const)?|\w+\.(?:cc|h):\d+ \w+) ")


def open_session(path: Path, *, optimized: bool = True, mapped: bool = False) -> Any:
    """Open an ONNX model on the CPU, with every graph optimization or with none; raises any error of ONNX Runtime.

    With ``mapped`` the weights of a large model stay in its files, which must not change while it is open, and
    optimizations that copy weights are left out.
    """
    import onnxruntime

    level = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised as well
    model: str | bytes = str(path)
    left_out: tuple[str, ...] = ()
    if _is_large(path):
        options.enable_cpu_mem_arena = False  # it keeps the memory that a batch was computed in
        if mapped:
            model = outline.read(path).SerializeToString()
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
            options.add_session_config_entry("session.disable_prepacking", "1")  # packed weights are copies
            # Above this level the weights of convolutions are reordered.
            options.graph_optimization_level = level.ORT_ENABLE_EXTENDED
            left_out = COPYING
    if not optimized:
        options.graph_optimization_level = level.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=[*left_out]
    )


def _is_large(path: Path) -> bool:
    """Whether a model and the files of its weights are large; what else lies in its folder, maybe a user's, is not."""
    from google.protobuf.message import DecodeError

    size = path.stat().st_size
    if size >= LARGE_BYTES:
        return True
    try:
        return size + sum(file.stat().st_size for file in outline.external_files(path)) >= LARGE_BYTES
    except (DecodeError, OSError):  # ONNX Runtime reports it
        return False


def open_file(path: Path, origin: Path, *, optimized: bool = True, mapped: bool = False) -> Any:
    """Open an ONNX file in ONNX Runtime; ConversionError with its reason and the name ``origin`` if it fails."""
    try:
        return open_session(path, optimized=optimized, mapped=mapped)
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise ConversionError(f"ONNX Runtime can't open {origin}: {reason(error)}") from error


class Opened:
    """An ONNX model in a session of ONNX Runtime, as it is served.

    ``told`` has the shape of each output that the session tells, which Triton compares a configuration with.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self.told = {output.name: tuple(output.shape) for output in session.get_outputs()}

    def __call__(self, arrays: Arrays) -> dict[str, Any]:
        """Return the named outputs for named inputs; VerificationError with ONNX Runtime's reason if it fails."""
        names = list(self.told)
        try:
            return dict(zip(names, self._session.run(names, dict(arrays)), strict=True))
        except Exception as error:
            raise VerificationError(f"the converted model fails on {shown(arrays)}: {error}") from error


def open_model(path: Path, *, mapped: bool = False) -> Opened:
    """Open an ONNX model on the CPU as a function that answers named inputs with named outputs.

    ``mapped`` is as in ``open_session``. Raises VerificationError with ONNX Runtime's reason: a model that does not run
    here can't be verified.
    """
    try:
        return Opened(open_session(path, mapped=mapped))
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise VerificationError(f"ONNX Runtime can't open the converted model: {error}") from error


class Runner:
    """A function that runs an ONNX file as it is written, without optimizations; the file is opened at the first call.

    Raises InputRefused, caused by ONNX Runtime's own error, if the model fails on its inputs, and ConversionError if
    the file can't be opened. A ``mapped`` file must not change, so a user's own file is not mapped.
    """

    def __init__(self, path: Path, *, mapped: bool = False) -> None:
        self._session = cache(lambda: open_file(path, path, optimized=False, mapped=mapped))

    def __call__(self, arrays: Arrays) -> dict[str, Any]:
        """Return the named outputs for named inputs."""
        session = self._session()
        names = [output.name for output in session.get_outputs()]
        try:
            return dict(zip(names, session.run(names, dict(arrays)), strict=True))
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise refused(arrays, reason(error)) from error


def reason(error: Exception) -> str:
    """Return the first line of one of ONNX Runtime's errors, without its codes."""
    line = first_line(error)
    text = line.rpartition("Status Message: ")[2].rpartition(" : ")[2].rpartition(" was false. ")[2]
    return SOURCE_LINE.sub("", LOADING.sub("", text)).rstrip(" .")
