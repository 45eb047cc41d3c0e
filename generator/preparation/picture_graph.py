"""The graph that prepares pictures as a source's own transform does, from its steps as data."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelrepo.generator.specs.preparation import Compute, Crop, Resize
from modelrepo.generator.specs.tensors import Array, TensorSpec

# The operators here mean the same in this operator set and in all later ones; Resize counts all pixels since 18.
OPSET, IR = 18, 8
MODES = {"bilinear": "linear", "bicubic": "cubic"}
# The coefficient of Pillow's and torch's antialiased bicubic filter.
CUBIC = -0.5


def graph(steps: Sequence[Any], pictures: TensorSpec, made: TensorSpec) -> Any:
    """Return an ``onnx.ModelProto`` from pictures to the input ``made`` of a model.

    It takes UINT8 (batch, height, width, 3), RGB, and answers float32 (batch, 3, height, width). ``steps`` are Resize,
    Crop and Compute, in this order. A picture without pixels is refused when the graph is run.
    """
    import onnx

    writing = _Writing(pictures.name)
    for step in steps:
        if isinstance(step, Resize):
            writing.resize(step)
        elif isinstance(step, Crop):
            writing.crop(step)
    writing.compute([step for step in steps if isinstance(step, Compute)])
    lines = "\n".join(writing.lines)
    model = onnx.parser.parse_model(
        f'<ir_version: {IR}, opset_import: ["" : {OPSET}]>\n'
        f"prepare (uint8[{_dims(pictures)}] {pictures.name}) => (float[{_dims(made)}] {made.name})\n"
        f"{{\n{lines}\n{made.name} = Identity ({writing.picture})\n}}"
    )
    model.graph.initializer.extend(onnx.numpy_helper.from_array(each, key) for key, each in writing.constants.items())
    return model


def _dims(spec: TensorSpec) -> str:
    return ", ".join(str(dim) if isinstance(dim, int) or dim.isidentifier() else "?" for dim in spec.shape)


class _Writing:
    """A graph as it is written: lines of ONNX's text, its constants, and where the picture is."""

    def __init__(self, name: str) -> None:
        self.picture, self.lines = name, [f"shape = Shape ({name})"]
        self.constants: dict[str, Array] = {}
        # ONNX Runtime resizes a picture without pixels to any values, and refuses to gather one of its pixels.
        given = {"name": name, "first": self.constant("place", np.array(0, np.int64))}
        self.say(
            """
            top = Gather <axis = 1> ({name}, {first})
            corner = Gather <axis = 1> (top, {first})
            corners = Shape (corner)
            """,
            **given,
        )
        self.lines += [f"batch = Slice (corners, {self.number(0)}, {self.number(1)})"]
        self.sides = ("height", "width")
        for axis, side in enumerate(self.sides, 1):
            self.lines += [f"{side} = Slice (shape, {self.number(axis)}, {self.number(axis + 1)})"]

    def number(self, *values: int) -> str:
        """Return the name of a constant of whole numbers."""
        return self.constant(f"n_{'_'.join(map(str, values))}".replace("-", "m"), np.array(values, np.int64))

    def constant(self, name: str, values: Array) -> str:
        """Return the name of a constant."""
        self.constants[name] = values
        return name

    def say(self, text: str, **given: str) -> None:
        """Write lines; names in braces are those given."""
        self.lines += [line.strip().format_map(given) for line in text.strip().splitlines()]

    def resize(self, step: Resize) -> None:
        """Write two resizes, of one axis each, if the order of the passes depends on the size; otherwise one."""
        mode = (
            f'mode = "{MODES[step.filter]}", antialias = 1, coordinate_transformation_mode = "half_pixel", '
            f"cubic_coeff_a = {CUBIC}, exclude_outside = 1"
        )
        names = self._target(step)
        given = {"x": self.picture, "three": self.number(3), "two": self.number(2), "mode": mode, **names}
        self.say("whole = Concat <axis = 0> (batch, {to_height}, {to_width}, {three})", **given)
        if step.turns:  # Pillow 13 resizes the height first if it loses more than twice as many pixels as the width
            self.say(
                """
                less_height = Sub (height, {to_height})
                less_width = Sub (width, {to_width})
                twice = Mul (less_width, {two})
                shrinks = Greater (height, {to_height})
                more = Greater (less_height, twice)
                height_first = And (shrinks, more)
                first_height = Where (height_first, {to_height}, height)
                first_width = Where (height_first, width, {to_width})
                first = Concat <axis = 0> (batch, first_height, first_width, {three})
                once = Resize <{mode}> ({x}, "", "", first)
                resized = Resize <{mode}> (once, "", "", whole)
                """,
                **given,
            )
        else:
            self.say('resized = Resize <{mode}> ({x}, "", "", whole)', **given)
        self.picture, self.sides = "resized", (names["to_height"], names["to_width"])

    def _target(self, step: Resize) -> dict[str, str]:
        """Write the size that a picture gets, and return the names of its height and width.

        Sides of 0 count as 1: a division by 0 would end the server.
        """
        height, width = step.size
        if step.rule == "exact":
            return {"to_height": self.number(height), "to_width": self.number(width)}
        names = {"to_height": "to_height", "to_width": "to_width"}
        given = {"one": self.number(1), "size": self.number(height)}
        if step.rule == "shorter":
            self.say(
                """
                smaller = Min (height, width)
                shorter = Max (smaller, {one})
                size_height = Mul (height, {size})
                size_width = Mul (width, {size})
                to_height = Div (size_height, shorter)
                to_width = Div (size_width, shorter)
                """,
                **given,
            )
            return names
        given |= {
            "of_height": self.constant("of_height", np.array([height], np.float64)),
            "of_width": self.constant("of_width", np.array([width], np.float64)),
            "choose": "Max" if step.rule == "inside" else "Min",
        }
        self.say(
            """
            exact_height = Cast <to = 11> (height)
            exact_width = Cast <to = 11> (width)
            share_height = Div (exact_height, {of_height})
            share_width = Div (exact_width, {of_width})
            share = {choose} (share_height, share_width)
            real_height = Div (exact_height, share)
            real_width = Div (exact_width, share)
            round_height = Round (real_height)
            round_width = Round (real_width)
            whole_height = Cast <to = 7> (round_height)
            whole_width = Cast <to = 7> (round_width)
            to_height = Max (whole_height, {one})
            to_width = Max (whole_width, {one})
            """,
            **given,
        )
        return names

    def crop(self, step: Crop) -> None:
        """Write borders for smaller pictures, and a slice of the centre."""
        edges: dict[str, str] = {}
        for side, now, size in zip(("height", "width"), self.sides, step.size, strict=True):
            given = {"side": side, "now": now, "size": self.number(size), "zero": self.number(0)}
            given |= {"one": self.number(1), "two": self.number(2)}
            self.say(
                """
                lacks_{side} = Sub ({size}, {now})
                pads_{side} = Max (lacks_{side}, {zero})
                before_{side} = Div (pads_{side}, {two})
                after_{side} = Sub (pads_{side}, before_{side})
                padded_{side} = Max ({now}, {size})
                beside_{side} = Sub (padded_{side}, {size})
                half_{side} = Div (beside_{side}, {two})
                """,
                **given,
            )
            begin = f"half_{side}"
            if step.to_even:
                begin = f"begin_{side}"
                self.say(
                    """
                    odd_{side} = Mod (beside_{side}, {two})
                    odd_half_{side} = Mod (half_{side}, {two})
                    up_{side} = Mul (odd_{side}, odd_half_{side})
                    begin_{side} = Add (half_{side}, up_{side})
                    """,
                    **given,
                )
            edges[side] = begin
            self.say(f"end_{side} = Add ({begin}, {{size}})", **given)
        self._pad(step)
        self.say(
            """
            begins = Concat <axis = 0> ({height}, {width})
            ends = Concat <axis = 0> (end_height, end_width)
            cropped = Slice (bordered, begins, ends, {axes})
            """,
            axes=self.number(1, 2),
            **edges,
        )
        self.picture = "cropped"

    def _pad(self, step: Crop) -> None:
        given = {"x": self.picture, "zero": self.number(0)}
        self.say(
            "pads = Concat <axis = 0> "
            "({zero}, before_height, before_width, {zero}, {zero}, after_height, after_width, {zero})",
            **given,
        )
        if len(set(step.fill)) == 1:
            fill = self.constant("fill", np.array(step.fill[0], np.uint8))
            self.say("bordered = Pad ({x}, pads, {fill})", fill=fill, **given)
            return
        # Pad has one value for all colours: the picture and a mask of where it is get borders of 0.
        self.say(
            """
            everywhere = Equal ({x}, {x})
            inside_bytes = Cast <to = 2> (everywhere)
            framed = Pad ({x}, pads, {nothing})
            inside_framed = Pad (inside_bytes, pads, {nothing})
            inside = Cast <to = 9> (inside_framed)
            bordered = Where (inside, framed, {fill})
            """,
            nothing=self.constant("nothing", np.array(0, np.uint8)),
            fill=self.constant("fill", np.array(step.fill, np.uint8)),
            **given,
        )

    def compute(self, steps: Sequence[Compute]) -> None:
        """Write the change to planes of floats, and what is computed with those."""
        self.say("planes = Transpose <perm = [0, 3, 1, 2]> ({x})\nfloats = Cast <to = 1> (planes)", x=self.picture)
        self.picture = "floats"
        for number, step in enumerate(steps):
            values = np.array(step.values, np.float32).reshape((-1, 1, 1) if len(step.values) > 1 else ())
            constant = self.constant(f"values_{number}", values)
            self.lines.append(f"computed_{number} = {step.operator} ({self.picture}, {constant})")
            self.picture = f"computed_{number}"
