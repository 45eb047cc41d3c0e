"""`generate` against the script an engineer writes by hand (plain_script.py), for ResNet50, in pairs."""

import sys
from pathlib import Path

from pairs import BIN, compare

GENERATE = [str(BIN / "generate"), "--model", "resnet50", "--backends", "onnx", "--weights", "random"]
SCRIPT = [sys.executable, str(Path(__file__).with_name("plain_script.py")), "."]

compare("without verification, against the script without parity", [*GENERATE, "--no-verify"], SCRIPT)
UNSERVED = [*GENERATE, "--live-check", "off"]
compare("with full verification, against the script with parity", UNSERVED, [*SCRIPT, "--parity"])
compare(
    "with full verification and --exporter torchscript", [*UNSERVED, "--exporter", "torchscript"], [*SCRIPT, "--parity"]
)
compare("with full verification and the live check", GENERATE, [*SCRIPT, "--parity"])
