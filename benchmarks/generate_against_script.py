"""`generate` against a script that an engineer writes by hand (plain_script.py), for ResNet50, in pairs."""

import sys
from pathlib import Path

from pairs import BIN, race

GENERATE = [str(BIN / "generate"), "--model", "resnet50", "--backends", "onnx", "--weights", "random"]
SCRIPT = [sys.executable, str(Path(__file__).with_name("plain_script.py")), "."]

race("without verification, against the script without parity", [*GENERATE, "--no-verify"], SCRIPT)
UNSERVED = [*GENERATE, "--live-check", "off"]
race("with full verification, against the script with parity", UNSERVED, [*SCRIPT, "--parity"])
race(
    "with full verification and --exporter torchscript", [*UNSERVED, "--exporter", "torchscript"], [*SCRIPT, "--parity"]
)
race("with full verification and the live check", GENERATE, [*SCRIPT, "--parity"])
