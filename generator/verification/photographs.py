"""Random images with the statistics of photographs, for calibration and comparison without real ones."""

import numpy as np

from modelrepo.generator.specs.tensors import Array

# The amplitude of a photograph's spectrum falls with the frequency to about this power, and colours differ less
# than brightness. The last two axes are blue-yellow and green-magenta.
SPECTRUM = (0.8, 1.4)
COLOURS = np.array([[0.57, 0.57, 0.57], [0.7, 0.0, -0.7], [0.4, -0.8, 0.4]])
COLOUR_DEVIATIONS = np.array([1.0, 0.3, 0.15]).reshape(3, 1, 1)
BRIGHTNESS, CONTRAST, TINT = (0.3, 0.6), (0.15, 0.3), 0.06


def natural_looking(random: np.random.Generator, height: int, width: int) -> Array:
    """Return a random image with the spectrum of a photograph: float32 (3, height, width), RGB in 0..1."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.rfftfreq(width)[np.newaxis, :])
    frequency[0, 0] = np.inf  # brightness and tint are chosen below
    noise = np.fft.rfft2(random.standard_normal((3, height, width))) / frequency ** random.uniform(*SPECTRUM)
    planes = np.fft.irfft2(noise, s=(height, width))
    planes *= COLOUR_DEVIATIONS / np.maximum(planes.std(axis=(1, 2), keepdims=True), 1e-12)
    image = random.uniform(*BRIGHTNESS) + random.uniform(*CONTRAST) * np.einsum("kc,kij->cij", COLOURS, planes)
    image += random.normal(0.0, TINT, (3, 1, 1))
    natural: Array = np.clip(image, 0.0, 1.0).astype(np.float32)
    return natural
