"""Triton's module for Python models, mended for numpy 2, and the packages of a model.

For models of ``backend: "python"``, which call ``as_numpy`` and ``Tensor(name, array)`` themselves: ``tensors.py`` says
what is wrong with those. `
"""

from pathlib import Path
from types import ModuleType
from typing import Any

COMMAND = Path("/proc/self/cmdline")


def served_file() -> Path:
    """Return the ``model.py`` that this process was started for: the first argument of Triton's stub."""
    return Path(COMMAND.read_bytes().split(b"\0")[1].decode())


def packages() -> list[str]:
    """Return the folders of the packages that the model's step requires; ImportError if they are not installed.

    The server installs those of the models that it starts with.
    """
    from modelrepo.generator.system import step_packages

    version = served_file().parent
    requirements = step_packages.read(version)
    found = step_packages.found(requirements)
    if found is None:
        raise ImportError(f"{version.parent.name} requires {' '.join(requirements)}, which is not installed here yet")
    return list(found)


def prepare(utils: ModuleType) -> None:
    """Mend Triton's module while it is imported: before the stub adds its classes to it, and imports the model."""
    import c_python_backend_utils as classes  # type: ignore[import-not-found]
    import numpy as np

    if np.lib.NumpyVersion(np.__version__) < "2.0.0":
        return
    from modelrepo.server.backends import tensors

    tensors.prepare(strings=True)
    original = classes.Tensor
    read_bytes = original.as_numpy

    def as_numpy(tensor: Any) -> Any:
        try:
            array = tensors.to_array(tensor, "")
        except Exception:  # strings have no DLPack type; bfloat16 has none in numpy, and gets Triton's own error
            return read_bytes(tensor)
        return array if array.flags.writeable else array.copy()

    class Tensor(original):  # type: ignore[misc, valid-type]
        """Triton's tensor, made from all bytes of an array."""

        def __new__(cls, name: str, array: Any) -> Any:
            return tensors.from_array(name, array, original)

    class Mended(ModuleType):
        """The module: the stub would put its own class there."""

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, Tensor if name == "Tensor" else value)

    original.as_numpy = as_numpy
    utils.__class__ = Mended
