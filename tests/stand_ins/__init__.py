"""Stand-ins for docker, trtexec and nvidia-smi, which these tests don't have. None is NVIDIA's; there is no GPU.

``trtexec`` "builds" a file with the header of a plan and the ONNX model behind it, and "runs" it with ONNX Runtime.
``docker`` runs the command of a container on this machine, in the folder that would be mounted. The environment
variable STAND_IN says how they fail: one of ``FAILURES``.
"""

import os
import sys
from pathlib import Path

CAPABILITY = "8.9"
FAILURES = ("memory", "operator", "killed", "wrong", "nan", "silent", "refused")
SCRIPTS = Path(__file__).parent


def install(folder: Path, *names: str) -> str:
    """Write stand-ins into a folder, all or those named, and return a PATH that starts with it."""
    folder.mkdir(exist_ok=True)
    for name in names or ("trtexec", "docker", "nvidia-smi"):
        script = SCRIPTS / f"{name.replace('-', '_')}.py"
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
