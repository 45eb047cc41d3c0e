"""A stand-in for docker: it runs a container's command on this machine, in the folder that would be mounted.

STAND_IN_DOCKER=no-gpu makes it a docker without NVIDIA's container toolkit. It notes each call in the file
STAND_IN_DOCKER_CALLS, if set.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

WITH_VALUE = ("--name", "--gpus", "--network", "-v", "-w")
TENSORRT = os.environ.get("STAND_IN_TENSORRT", "11.2.1.0")


def main(words: list[str]) -> int:
    if os.environ.get("STAND_IN_DOCKER_CALLS"):
        with Path(os.environ["STAND_IN_DOCKER_CALLS"]).open("a") as calls:
            calls.write(f"{' '.join(words)}\n")
    match words:
        case ["info", *_]:
            runtimes: dict[str, object] = {} if os.environ.get("STAND_IN_DOCKER") == "no-gpu" else {"nvidia": {}}
            print(json.dumps({"Runtimes": runtimes, "ServerVersion": "0-stand-in"}))
        case ["image", "inspect", *_]:
            print("sha256:0000")
        case ["run", *rest]:
            return run(rest)
        case ["rm", "--force", _]:
            pass
        case _:
            sys.exit(f"the stand-in for docker knows no {' '.join(words)}")
    return 0


def run(words: list[str]) -> int:
    given = {}
    while words[0].startswith("-"):
        name = words.pop(0)
        given[name] = words.pop(0) if name in WITH_VALUE else ""
    assert {"--rm", "--network"} <= given.keys()
    _image, *command = words
    if command[0] == "dpkg-query":
        print(f"libnvinfer-bin\t{TENSORRT}-1+cuda13.4\nlibnvinfer11\t{TENSORRT}-1+cuda13.4")
        return 0
    assert "--gpus" in given
    folder = Path(given["-v"].rpartition(":")[0])
    return subprocess.run(command, cwd=folder, check=False).returncode


sys.exit(main(sys.argv[1:]))
