"""A TorchScript file: the arguments of its forward(), read from the source text in it. Nothing of it is run."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from modelrepo.generator.system.pickles import operations

# As much is read of a member: generated code is shorter.
MOST_BYTES = 64 << 20
OPENING, CLOSING = "([{", ")]}"
# The end of a method's signature; the first line of its body follows.
RETURNED = re.compile(r"\) -> ([^:]{0,2000}):\n")


@dataclass(frozen=True)
class TorchScript:
    """The arguments of forward(), without self: name and type; None if the model has no forward().

    ``returns`` is the type of its answer, such as "Tuple[Tensor, Tensor]"; empty if that is not written.
    """

    arguments: tuple[tuple[str, str], ...] | None
    returns: str = ""

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """The arguments of types that Triton's requests can't hold."""
        taken = self.arguments or ()
        if len(taken) == 1 and taken[0][1].startswith("Dict"):
            return ()
        return tuple((name, kind) for name, kind in taken if kind != "Tensor" and not kind.startswith("List"))


def read(path: Path) -> TorchScript | None:
    """Read a TorchScript file; None if it is not one, or of a form that is not known."""
    from modelrepo.generator.sources.content import DAMAGED_ZIP  # late: it brings every source

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            data = next((name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")), "")
            module, name = main_class(member(archive, data)) if data else ("", "")
            code = f"{data.removesuffix('data.pkl')}code/{module.replace('.', '/')}.py"
            if not module or code not in names:
                return None
            return _forward(member(archive, code).decode("utf-8", errors="replace"), name)
    except (*DAMAGED_ZIP, OSError):  # a damaged directory leads to places that no file has
        return None


def member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a member of an archive, up to ``MOST_BYTES``; KeyError, or an error of ``DAMAGED_ZIP``."""
    with archive.open(name) as file:
        return file.read(MOST_BYTES)


def main_class(pickled: bytes) -> tuple[str, str]:
    """Return the module and the name of the class of the whole model: the first that its pickle names."""
    for operation, argument in operations(pickled):
        if operation == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            return (module, name) if module.startswith("__torch__") else ("", "")
    return "", ""


def _forward(code: str, name: str) -> TorchScript | None:
    """Return what a class's forward() takes; None if the class is not found."""
    found = re.search(rf"^class {re.escape(name)}\(Module\):\n((?:[ \t].*\n|\n)*)", f"{code}\n", re.MULTILINE)
    if not found:
        return None
    method = re.search(r"^  def forward\(", found[1], re.MULTILINE)
    if not method:
        return TorchScript(None)
    arguments = []
    for written in split(found[1][method.end() :])[1:]:  # without self
        argument, _, kind = written.partition(":")
        arguments.append((argument.strip(), kind.partition("=")[0].strip() or "Tensor"))
    returned = RETURNED.search(found[1], method.end())
    return TorchScript(tuple(arguments), " ".join(returned[1].split()) if returned else "")


def split(text: str) -> list[str]:
    """Split a list of arguments, or of types, at its commas, up to the bracket that closes it."""
    parts, depth = [""], 0
    for letter in text:
        if letter in CLOSING:
            if not depth:
                break
            depth -= 1
        elif letter in OPENING:
            depth += 1
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]
