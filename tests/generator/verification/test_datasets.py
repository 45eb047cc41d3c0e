"""The user's inputs: arrays, images, labels; useless calibration data; random inputs."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.tensors import Domain, Signature, TensorSpec
from modelrepo.generator.verification import datasets
from modelrepo.generator.verification.datasets import Dataset
from modelrepo.generator.verification.inputs import Pool

ROWS = Signature((TensorSpec("x", "float32", ("batch", 4)),), (TensorSpec("y", "float32", ("batch", 3)),))
PICTURES = Signature((TensorSpec("input", "float32", ("batch", 3, 8, 8)),), (TensorSpec("y", "float32", ("batch", 3)),))
PREPROCESS = {
    **{"kind": "image", "resize": 8, "crop": [8, 8], "interpolation": "bilinear", "layout": "NCHW"},
    **{"scale": [0.0, 1.0], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
}
X = np.ones((2, 4), "float32")
LABELS = ("tabby cat", "beagle", "goldfish")


def picture(path: str, red: int = 200) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (10, 12), (red, 0, 0)).save(file)
    return file


def read(path: str) -> Dataset:
    return datasets.read(Path(path), PICTURES, PREPROCESS, LABELS)


pytestmark = pytest.mark.usefixtures("workdir")


def test_a_folder_of_images_is_prepared_as_the_model_says() -> None:
    for number, suffix in enumerate((".png", ".JPG", ".bmp", ".webp", ".jpeg")):
        picture(f"images/{number}{suffix}", red=255)
    data = read("images")
    (pool,) = data.pools
    assert (data.count, data.labels, pool.families[0]) == (5, None, "sample 0.png")
    assert pool.arrays["input"].shape == (5, 3, 8, 8)
    assert pool.arrays["input"][0, 0] == pytest.approx((1 - 0.5) / 0.25)
    assert pool.arrays["input"][0, 1] == pytest.approx((0 - 0.5) / 0.25)


def test_folders_label_their_images_by_name_or_index() -> None:
    picture("images/Tabby_Cat/a.png", red=10)
    picture("images/2/b.png", red=20)
    data = read("images")
    assert data.labels is not None
    by_name = dict(zip(data.pools[0].families, data.labels[0].tolist(), strict=True))
    assert by_name == {"sample a.png": 0, "sample b.png": 2}


def test_labels_are_read_from_the_file_of_the_inputs() -> None:
    np.savez("s.npz", x=np.zeros((3, 4), "float32"), labels=np.array([2, 0, 1]))
    data = datasets.read(Path("s.npz"), ROWS)
    assert data.labels is not None
    assert data.labels[0].tolist() == [2, 0, 1]


def test_an_input_named_labels_is_not_a_label() -> None:
    spec = TensorSpec("labels", "int64", ("batch",))
    np.savez("s.npz", x=np.zeros((2, 4), "float32"), labels=np.array([7, 8]))
    assert datasets.read(Path("s.npz"), Signature((*ROWS.inputs, spec), ROWS.outputs)).labels is None


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("x", "y"), "y as the labels"),
        (("X", "Y"), "X as the input 'x', Y as the labels"),
        (("X_test", "y_test"), "X_test as the input 'x', y_test as the labels"),
        (("images", "labels"), "images as the input 'x'"),
        (("data", "target"), "data as the input 'x', target as the labels"),
        (("arr_0", "arr_1"), "arr_0 as the input 'x', arr_1 as the labels"),
    ],
)
def test_arrays_may_have_the_names_that_data_sets_use_and_it_is_said(names: tuple[str, str], taken: str) -> None:
    arrays(**dict(zip(names, (X, np.array([2, 1])), strict=True)))()
    data = datasets.read(Path("s.npz"), ROWS)
    assert data.labels is not None
    assert (data.labels[0].tolist(), data.taken) == ([2, 1], taken)
    told = datasets.told(data, Path("s.npz"), measured=2)
    assert told == f"2 samples of s.npz ({taken}): all compared number by number, accuracy measured on all"


@pytest.mark.parametrize("shape", [(1, 4), (4,)])
def test_a_test_set_for_a_model_without_batches_is_many_sets(shape: tuple[int, ...]) -> None:
    alone = Signature((TensorSpec("x", "float32", shape),), (TensorSpec("y", "float32", (*shape[:-1], 3)),))
    rows = np.arange(12, dtype="float32").reshape(3, 4)
    np.savez("s.npz", x=rows, y=np.array([2, 0, 1]))
    data = datasets.read(Path("s.npz"), alone)
    assert data.labels is not None
    assert data.labels[0].tolist() == [2, 0, 1]
    assert data.pools[0].arrays["x"].shape == (3, *shape)
    assert data.pools[0].whole(1)["x"].reshape(-1).tolist() == [4, 5, 6, 7]
    np.savez("s.npz", x=np.zeros((3, 5), "float32"))
    with pytest.raises(OptionError, match=r"x is float32\[3, 5\], but the model takes x"):
        datasets.read(Path("s.npz"), alone)


def test_one_of_several_arrays_is_not_guessed() -> None:
    np.savez("s.npz", x_train=X, x_test=X, y_test=np.array([0, 1]))
    with pytest.raises(OptionError, match=r"has no input 'x'\. It holds x_train, x_test, y_test: name the samples 'x'"):
        datasets.read(Path("s.npz"), ROWS)
    np.savez("s.npz", x=X, y_train=np.array([0, 1]), y_test=np.array([0, 1]))
    data = datasets.read(Path("s.npz"), ROWS)
    assert (data.labels, data.taken) == (None, "without y_train, y_test")


def test_a_folder_of_two_arrays_may_be_samples_and_their_labels() -> None:
    Path("s").mkdir()
    np.save("s/X.npy", X)
    np.save("s/y.npy", np.array([1, 2]))
    data = datasets.read(Path("s"), ROWS)
    assert data.labels is not None
    assert (data.count, data.labels[0].tolist(), data.taken) == (2, [1, 2], "y.npy as the labels")


def test_labels_of_several_files_stay_with_their_samples() -> None:
    Path("s").mkdir()
    texts = TensorSpec("answer", "object", ("batch",))
    free = Signature((TensorSpec("x", "float32", ("batch", "size")),), (texts,))
    for name, size, classes in (("a", 2, ["owl", "cat"]), ("b", 1, ["dog"]), ("c", 2, ["dog"])):
        np.savez(f"s/{name}.npz", x=np.zeros((len(classes), size), "float32"), labels=np.array(classes))
    data = datasets.read(Path("s"), free)
    assert data.labels is not None
    assert [[data.classes[each] for each in own] for own in data.labels] == [["dog"], ["owl", "cat", "dog"]]


def test_doubtful_labels_are_a_note_and_named_ones_are_refused() -> None:
    np.savez("s.npz", x=X, y=np.array([0, 57]))
    data = datasets.read(Path("s.npz"), ROWS)
    assert data.labels is None
    assert data.notes == (
        "the labels of s.npz (y) are not used: s.npz: y contains 57, which is not a class of the model: it has 3, "
        "counted from 0",
    )
    with pytest.raises(OptionError, match="y contains 57"):
        datasets.read(Path("s.npz"), ROWS, None, LABELS)


@pytest.mark.parametrize(
    ("shape", "wanted", "hint"),
    [
        ((5, 8, 8, 3), (3, 8, 8), "It seems to be NHWC: array.transpose(0, 3, 1, 2) has the model's order"),
        ((5, 3, 8, 8), (8, 8, 3), "It seems to be NCHW: array.transpose(0, 2, 3, 1) has the model's order"),
        ((5, 784), (1, 28, 28), "It has as many numbers a sample: array.reshape(-1, 1, 28, 28) has the model's shape"),
        ((5, 28, 28), (784,), "It has as many numbers a sample: array.reshape(-1, 784) has the model's shape"),
        ((5, 9), (4,), ""),
    ],
)
def test_samples_of_another_shape_get_the_likely_cause(
    shape: tuple[int, ...], wanted: tuple[int, ...], hint: str
) -> None:
    np.save("s.npy", np.zeros(shape, "float32"))
    model = Signature((TensorSpec("x", "float32", ("batch", *wanted)),), ROWS.outputs)
    with pytest.raises(OptionError) as raised:
        datasets.read(Path("s.npy"), model)
    assert (
        raised.value.message
        == f"s.npy: x is float32{list(shape)}, but the model takes x{['batch', *wanted]}".replace("'", "")
    )
    assert raised.value.hint == hint


def test_whole_numbers_of_another_size_are_taken_if_they_fit() -> None:
    model = Signature((TensorSpec("x", "uint8", ("batch", 2)),), ())
    np.save("s.npy", np.array([[0, 255]]))
    assert datasets.read(Path("s.npy"), model).pools[0].arrays["x"].tolist() == [[0, 255]]
    for wrong, hint in ((np.array([[0, 256]]), ""), (np.array([[0.0, 1.0]]), "array.astype('uint8')")):
        np.save("s.npy", wrong)
        with pytest.raises(OptionError, match=r"the model takes x\[batch, 2\] of uint8") as raised:
            datasets.read(Path("s.npy"), model)
        assert hint in raised.value.hint


def test_only_headers_tell_whether_a_file_may_hold_samples() -> None:
    np.savez("s.npz", x=X, y=np.array(["a", [1]], object))
    with pytest.raises(OptionError, match=r"Python objects, which may run code\. Save numbers or text"):
        datasets.check(Path("s.npz"))
    np.save("whole.npy", X)
    Path("s.npy").write_bytes(Path("whole.npy").read_bytes()[:-1])
    with pytest.raises(OptionError, match=r"it is not a \.npy or \.npz file"):
        datasets.check(Path("s.npy"))
    datasets.check(Path("whole.npy").rename("named_otherwise.npz"))


def arrays(**named: Any) -> Callable[[], None]:
    return lambda: np.savez("s.npz", **named)


def pictures(*paths: str) -> Callable[[], Any]:
    return lambda: [picture(path) for path in paths]


def broken_picture() -> None:
    Path("s").mkdir()
    Path("s/a.png").write_bytes(b"no image")


def image_and_array() -> None:
    picture("s/a.png")
    np.save("s/b.npy", X)


def half_labelled() -> None:
    Path("s").mkdir()
    np.savez("s/a.npz", x=np.zeros((2, 4), "float32"), labels=np.array([0, 1]))
    np.savez("s/b.npz", x=np.zeros((2, 4), "float32"))


# What is refused: how it is made, the signature, the preprocess.
REFUSED: dict[str, tuple[Callable[[], Any], Signature, dict[str, Any] | None]] = {
    "nothing": (lambda: Path("s").mkdir(), PICTURES, PREPROCESS),
    "images for a model of rows": (pictures("s/a.png"), ROWS, None),
    "no image": (broken_picture, PICTURES, PREPROCESS),
    "images beside arrays": (image_and_array, PICTURES, PREPROCESS),
    "images in and beside folders": (pictures("s/beagle/a.png", "s/b.png"), PICTURES, PREPROCESS),
    "unknown folder": (pictures("s/beagel/a.png"), PICTURES, PREPROCESS),
    "index too large": (pictures("s/3/a.png"), PICTURES, PREPROCESS),
    "labels for other rows": (arrays(x=X, labels=np.array([1])), ROWS, None),
    "labels of floats": (arrays(x=X, labels=np.array([0.5, 1.0])), ROWS, None),
    "label too large": (arrays(x=X, labels=np.array([0, 3])), ROWS, None),
    "negative label": (arrays(x=X, labels=np.array([0, -1])), ROWS, None),
    "half labelled": (half_labelled, ROWS, None),
    "other shape": (arrays(x=np.ones((2, 5), "float32")), ROWS, None),
    "other type": (arrays(x=np.array([["a"] * 4])), ROWS, None),
}


def test_data_that_does_not_fit_is_refused_with_a_reason(workdir: Path, golden: Callable[[str, str], None]) -> None:
    told = []
    for number, (name, (make, signature, preprocess)) in enumerate(REFUSED.items()):
        folder = workdir / str(number)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            make()
            path = Path("s") if Path("s").exists() else Path("s.npz")
            with pytest.raises(OptionError) as raised:
                datasets.read(path, signature, preprocess, LABELS if signature is PICTURES else ())
        told.append(f"{name}: {raised.value}\n")
    golden("messages/optimize/datasets.txt", "".join(told))


def test_a_class_name_that_two_classes_have_is_refused() -> None:
    picture("s/crane/a.png")
    with pytest.raises(OptionError, match="the classes 0 and 2 are both named 'crane'"):
        datasets.read(Path("s"), PICTURES, PREPROCESS, ("crane", "beagle", "crane"))


def test_more_images_than_memory_is_meant_for_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        picture(f"s/{number}.png")
    monkeypatch.setattr(datasets, "MOST_BYTES", 3 * (3 * 8 * 8 * 4))
    data = read("s")
    assert data.pools[0].families == ("sample 0.png", "sample 4.png", "sample 8.png")
    assert data.notes == ("3 of the 9 images in s are read, evenly spaced",)


def test_a_split_keeps_every_row_once_with_its_label() -> None:
    Path("s").mkdir()
    for size in (1, 2):  # two pools
        rows = np.arange(10)
        np.savez(f"s/{size}.npz", x=np.full((10, size), 1.0) * rows[:, None], labels=rows)
    free = Signature((TensorSpec("x", "float32", ("batch", "size")),), (TensorSpec("y", "float32", ("batch", 10)),))
    data = datasets.read(Path("s"), free)
    rest, held_out = data.split(0.25, seed=3)
    assert (data.count, rest.count, held_out.count) == (20, 15, 5)
    seen = []
    for part in (rest, held_out):
        for pool, labels in part.parts():
            assert pool.arrays["x"][:, 0].tolist() == labels.tolist()
            seen += [(pool.arrays["x"].shape[1], label) for label in labels.tolist()]
    assert sorted(seen) == [(size, label) for size in (1, 2) for label in range(10)]
    again, _ = data.split(0.25, seed=3)
    assert [pool.families for pool in again.pools] == [pool.families for pool in rest.pools]


def test_of_many_rows_evenly_spaced_ones_are_compared() -> None:
    def pool(first: int, count: int) -> Pool:
        rows = range(first, first + count)
        return Pool({"x": np.array(rows, "float32")[:, None]}, tuple(map(str, rows)))

    few = Dataset((pool(0, 40), pool(40, 24)))
    assert [each.families for each in few.compared] == [each.families for each in few.pools]
    many = Dataset((pool(0, 100), pool(100, 300)), labels=(np.arange(100), np.arange(300)))
    compared = [int(family) for each in many.compared for family in each.families]
    assert len(compared) == datasets.COMPARED
    assert (compared[0], compared[-1]) == (0, 399)
    assert set(np.diff(compared)) == {6, 7}
    assert Dataset(()).compared == ()


def test_a_single_sample_is_not_split() -> None:
    np.save("s.npy", np.ones(4, "float32"))
    rest, held_out = datasets.read(Path("s.npy"), ROWS).split(0.5, seed=0)
    assert (rest.count, held_out.count, held_out.pools) == (1, 0, ())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "x is 0.0 everywhere"),
        (3.0, "x is 3.0 everywhere"),
        (np.nan, "x contains NaN"),
        (np.inf, "x contains infinity"),
    ],
)
def test_data_that_sets_no_range_is_refused(value: float, said: str) -> None:
    free = Signature((TensorSpec("x", "float32", ("batch", 4), Domain(known=False)),), ROWS.outputs)
    np.save("s.npy", np.full((9, 4), value, "float32"))
    with pytest.raises(OptionError, match=said):
        datasets.check_calibration(datasets.read(Path("s.npy"), free), Path("s.npy"))


def test_empty_data_sets_no_range() -> None:
    free = Signature((TensorSpec("x", "float32", ("batch", "size")),), ROWS.outputs)
    np.save("s.npy", np.empty((9, 0), "float32"))
    with pytest.raises(OptionError, match="x is empty"):
        datasets.check_calibration(datasets.read(Path("s.npy"), free), Path("s.npy"))


def test_images_that_are_one_colour_and_samples_that_are_all_the_same_are_refused() -> None:
    for number in range(9):
        picture(f"red_only/{number}.png", red=100)
        picture(f"plain/{number}.png", red=10 * number)
    same, plain = read("red_only"), read("plain")
    with pytest.raises(OptionError, match="input is the same in all 9 samples"):
        datasets.check_calibration(same, Path("red_only"))
    with pytest.raises(OptionError, match="input is one colour in every image"):
        datasets.check_calibration(plain, Path("plain"))


def test_a_constant_mask_beside_real_values_is_fine_and_few_samples_are_noted() -> None:
    mask = TensorSpec("mask", "float32", ("batch", 4))
    np.savez("s.npz", x=np.arange(8, dtype="float32").reshape(2, 4), mask=np.ones((2, 4), "float32"))
    data = datasets.read(Path("s.npz"), Signature((*ROWS.inputs, mask), ROWS.outputs))
    (note,) = datasets.check_calibration(data, Path("s.npz"))
    assert note == "s.npz holds 2 samples: reliable ranges need some dozens"


def test_random_images_look_natural_and_are_the_same_for_the_same_seed() -> None:
    size = {**PREPROCESS, "crop": [64, 64]}
    signature = Signature((TensorSpec("input", "float32", ("batch", 3, 64, 64)),), PICTURES.outputs)
    images = datasets.random_like(signature, size, 12, seed=5).pools[0].arrays["input"]
    assert (images.shape, images.dtype) == ((12, 3, 64, 64), np.dtype("float32"))
    assert images.min() >= -2.0  # 0..1, normalised
    assert images.max() <= 2.0
    power = np.abs(np.fft.fft2(images - images.mean(axis=(2, 3), keepdims=True)))[..., 0, :].mean(axis=(0, 1))
    assert power[1:5].mean() > 4 * power[16:32].mean()  # white noise has as much of both
    brightness = images.mean(axis=1)
    assert brightness.std() > (images[:, 0] - brightness).std()  # colours differ less than brightness
    again = datasets.random_like(signature, size, 3, seed=5).pools[0].arrays["input"]
    other = datasets.random_like(signature, size, 3, seed=6).pools[0].arrays["input"]
    assert np.array_equal(again, images[:3])
    assert not np.array_equal(other, again)


def test_other_random_inputs_stay_within_their_domains() -> None:
    ids = TensorSpec("ids", "int64", ("batch", "tokens"), Domain(0, 99))
    pool, *_ = datasets.random_like(Signature((ids, *ROWS.inputs), ROWS.outputs), None, 20, seed=0).pools
    assert pool.arrays["ids"].shape == (20, 32)
    assert 0 <= pool.arrays["ids"].min() < pool.arrays["ids"].max() <= 99
    assert pool.arrays["x"].std() == pytest.approx(1.0, abs=0.3)
    assert len(set(pool.families)) == 20


def test_an_archive_of_something_else_is_no_npz(workdir: Path) -> None:
    for name in ("a.npz", "a.npy"):
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("a.txt", "hi")
        with pytest.raises(OptionError, match=r"is not a \.npy or \.npz file"):
            datasets.load(Path(name), "x")
