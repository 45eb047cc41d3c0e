"""Folders of models of which the linter and the real server must say the same: names, links, missing files."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

IO = 'input { name: "x" data_type: TYPE_FP32 dims: 1 } output { name: "y" data_type: TYPE_FP32 dims: 1 }'
LIGHT = f'backend: "light" {IO}'
ONNX = f'backend: "onnxruntime" {IO} instance_group {{ kind: KIND_CPU }}'


@dataclass(frozen=True)
class Layout:
    """What lies in a model's folder: `1/` is a folder, `x` a file, `x -> y` a link; and the codes that are found."""

    name: str
    entries: tuple[str, ...]
    errors: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # warnings and information
    config: str | None = LIGHT
    alone: bool = False  # it ends the server
    core: bool = True  # whether the core decides, not the backend

    def write(self, root: Path, libraries: Iterable[Path] = ()) -> None:
        """Write the folder into a repository; ``libraries`` of backends lie in it, too."""
        folder = root / self.name
        folder.mkdir()
        for library in libraries:
            os.link(library, folder / library.name)
        if self.config is not None:
            (folder / "config.pbtxt").write_text(self.config)
        for entry in self.entries:
            path, _, target = entry.partition(" -> ")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if target:
                (folder / path).symlink_to(target)
            elif path.endswith("/"):
                (folder / path).mkdir()
            else:
                (folder / path).write_text("x")


LAYOUTS = (
    Layout("right", ("1/",)),
    # Names of versions.
    Layout("none", (), ("VDIR-NONE",)),
    Layout("file", ("1",), ("VDIR-NONE",)),
    Layout("file_too", ("1/", "2")),
    Layout("zero", ("0/",)),
    Layout("leading_zero", ("01/",), ("VDIR-NONE",), ("VDIR-0",)),
    Layout("two_zeros", ("00/",), ("VDIR-NONE",), ("VDIR-0",)),
    Layout("leading_zero_too", ("1/", "01/"), (), ("VDIR-0",)),
    Layout("minus", ("-1/",)),
    Layout("half_copied", ("2.tmp/",), (), ("VDIR-NAME",)),
    Layout("plus", ("+2/",), (), ("VDIR-NAME",)),
    Layout("space", (" 2/",), (), ("VDIR-NAME",)),
    Layout("tab", ("\t2/",), (), ("VDIR-NAME",)),
    Layout("behind", ("3 /",), (), ("VDIR-NAME",)),
    Layout("exponent", ("1e3/",), (), ("VDIR-NAME",)),
    Layout("hexadecimal", ("0x10/",), ("VDIR-NONE",), ("VDIR-OTHER",)),
    Layout("full_width", ("\uff11/",), ("VDIR-NONE",), ("VDIR-OTHER",)),
    Layout("dot", (".2/",), ("VDIR-NONE",), ("VDIR-OTHER",)),
    Layout("word", ("latest/",), ("VDIR-NONE",), ("VDIR-OTHER",)),
    Layout(
        "missing_twice", ("latest/",), (), ("VDIR-OTHER",),
        config=LIGHT + "version_policy { specific { versions: [ 7, 7 ] } }",
    ),
    Layout("word_too", ("1/", "latest/"), (), ("VDIR-OTHER",)),
    Layout("configs", ("configs/",), ("VDIR-NONE",)),
    Layout("warmup", ("warmup/", "initial_state/", "1/")),
    Layout("largest", ("9223372036854775807/",)),
    Layout("large_zero", ("1/", "020241031123456789012/"), (), ("VDIR-0",)),
    Layout("large_file", ("1/", "20241031123456789012")),
    Layout("larger", ("1/", "9223372036854775808/"), ("VDIR-BIG",), alone=True),
    Layout("smaller", ("1/", "-9223372036854775809/"), ("VDIR-BIG",), alone=True),
    Layout("large_part", ("1/", "20241031123456789012.tmp/"), ("VDIR-BIG",), alone=True),
    Layout(
        "large_unselected", ("1/", "20241031123456789012/"), ("VDIR-BIG",), alone=True,
        config=LIGHT + "version_policy { specific { versions: 1 } }",
    ),
    # Links.
    Layout("linked_version", ("kept/1/", "1 -> kept/1"), (), ("VDIR-OTHER",)),
    Layout("dangling", ("1/", "x -> nowhere"), ("LINK",)),
    Layout("lock_of_an_editor", ("1/", ".#config.pbtxt -> me@host"), ("LINK",), ("STRAY",)),
    Layout("dangling_version", ("1/", "2 -> nowhere"), ("LINK",)),
    Layout("dangling_config", ("1/", "config.pbtxt -> nowhere"), ("LINK",), config=None),
    Layout("in_a_circle", ("1/", "x -> x"), ("LINK",)),
    Layout("dangling_below", ("1/", "1/x -> nowhere"), (), ("LINK-DEEP",)),
    Layout("to_itself", ("1/", "self -> ."), (), ("LINK-CIRCLE", "VDIR-OTHER")),
    Layout("upwards", ("1/", "1/up -> .."), (), ("LINK-CIRCLE",)),
    Layout("to_themselves", ("1/", "2/", "1/self -> .", "2/self -> ."), (), ("LINK-CIRCLE", "LINK-CIRCLE")),
    Layout("circles", ("1/", "a -> .", "b -> ."), ("LINK-CIRCLES", "LINK-CIRCLES"), ("VDIR-OTHER",) * 2, core=False),
    # Links by which Triton would guess the backend.
    Layout("guess_last", ("1/model.onnx", "2/model.onnx", "2/model.pt -> nowhere"), (), ("LINK-DEEP",), config=IO),
    Layout("guess_later", ("1/model.onnx", "1/model.pt -> nowhere"), (), ("LINK-DEEP",), config=IO),
    Layout("guess_lost", ("1/model.pt -> nowhere",), ("LINK-GUESS",), ("LINK-DEEP",), config=IO),
    Layout("guess_lost_plan", ("1/model.plan -> nowhere",), ("LINK-GUESS",), ("LINK-DEEP",), config=IO),
    Layout("guess_lost.light", ("1/model.plan -> nowhere",), ("LINK-GUESS",), ("LINK-DEEP",), config=None),
    Layout("guess_named", ("1/model.plan -> nowhere",), (), ("LINK-DEEP",)),
    # Names.
    Layout("a%20b", ("1/",)),
    Layout("...", ("1/",)),
    Layout("-", ("1/",)),
    Layout(".hidden", ("1/",)),
    Layout("minus_zero", ("-0/",), (), ("VDIR-NAME",)),
    Layout("line_behind", ("1\n/",), (), ("VDIR-NAME",)),
    Layout("plus_plus", ("++1/",), ("VDIR-NONE",), ("VDIR-OTHER",)),
    Layout("prefix", ("1/", "config"), (), ("PREFIX",)),
    Layout("prefix_folder", ("1/", "c/"), (), ("PREFIX",)),
    Layout("no_prefix", ("1/", "configs/", "C", "config.pbtxt_")),
    Layout("config_in_version", ("1/config.pbtxt",), ("ROOT",), ("CONFIG-PLACE",), config=None),
    Layout("config_in_version_too", ("1/config.pbtxt", "2/config.pbtxt"), (), ("CONFIG-PLACE",) * 2),
    Layout("left_behind", ("1/", ".config.pbtxt.swp", ".DS_Store"), (), ("STRAY", "STRAY")),
    # Without a configuration.
    Layout("lost+found", (), ("ROOT",), config=None),
    Layout(".git", ("hooks/", "HEAD"), ("ROOT",), config=None),
    Layout("not_a_model", ("1/x",), ("ROOT",), config=None),
    Layout("only_prefix", ("1/", "config"), ("ROOT",), config=None),
    Layout("no_configuration", ("1/", "config.pbtxt/"), ("CONFIG-KIND",), config=None, alone=True),
    # Files that a backend needs.
    Layout("onnx", ("1/model.onnx",), config=ONNX, core=False),
    Layout("onnx_folder", ("1/model.onnx/model.onnx",), config=ONNX, core=False),
    Layout("onnx_without_config", ("1/model.onnx",), config=None, core=False),
    Layout("onnx_named", ("1/x.onnx",), config=ONNX + ' default_model_filename: "x.onnx"', core=False),
    Layout("onnx_missing", ("1/x",), ("VDIR-EMPTY",), config=ONNX, core=False),
    Layout("onnx_newest", ("1/model.onnx", "2/x"), ("VDIR-EMPTY",), config=ONNX, core=False),
    Layout("onnx_older", ("1/x", "2/model.onnx"), config=ONNX, core=False),
    Layout(
        "onnx_all", ("1/x", "2/model.onnx"), ("VALL",), config=ONNX + " version_policy { all {} }", core=False
    ),
    Layout("onnx_part", ("2.tmp/model.onnx",), ("VDIR-EMPTY",), ("VDIR-NAME",), config=ONNX, core=False),
    Layout("onnx_part_too", ("1/model.onnx", "1.tmp/model.onnx"), (), ("VDIR-NAME",), config=ONNX, core=False),
    Layout("onnx_minus", ("-1/model.onnx",), ("VDIR-NEG",), config=ONNX, core=False),
    Layout("onnx_minus_too", ("1/model.onnx", "-1/x"), config=ONNX, core=False),
)  # fmt: skip
