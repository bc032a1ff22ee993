"""What a model hears of a stretch of sound, with parts of it hidden at will."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emogram import features, spectrogram
from emogram.audio import Waveform
from emogram.config import SpectrogramConfig
from emogram.spectrogram import FloatArray


@dataclass(frozen=True)
class Heard:
    """What a model hears.

    Attributes:
        scaled: Scaled log-mel without the silence that is cut at both ends, shape (n_frames, n_mels), in [0, 1].
        first_frame: Frames that were cut before it.
        config: How it was made.
        melody: Bands of periodicity in the same frames, shape (n_frames, periodicity_bands); never hidden, since they
            tell of all frequencies at once.
        others: Inputs beside the spectrogram, by name, shape (n_values,).
    """

    scaled: FloatArray
    first_frame: int
    config: SpectrogramConfig
    melody: FloatArray
    others: dict[str, FloatArray]

    @property
    def fill(self) -> float:
        """What hides a part: the mean of all that is heard.

        Training hides stripes behind the same mean (`augment.mask`), so the network takes it for "nothing to know
        here". The floor would be silence, which says something: calm and sad speech have more of it.
        """
        return float(self.scaled.mean())

    def times_s(self) -> npt.NDArray[np.float64]:
        """Return the middle of each frame, in seconds from the start of the stretch, shape (n_frames,)."""
        step_s = self.config.hop_length / self.config.sample_rate
        return (self.first_frame + np.arange(len(self.scaled), dtype=np.float64)) * step_s

    def inputs(self, versions: FloatArray) -> dict[str, FloatArray]:
        """Return model inputs for versions of what is heard, shape (n, n_frames, n_mels)."""
        whole = [np.concatenate([each, self.melody], axis=1) for each in versions]
        spectrograms = np.stack([spectrogram.input_of_scaled(each, self.config) for each in whole])
        others = {name: np.repeat(values[np.newaxis], len(versions), axis=0) for name, values in self.others.items()}
        return {"spectrogram": spectrograms, **others}


def hear(waveform: Waveform, config: SpectrogramConfig) -> Heard:
    """Listen as a model does.

    Raises:
        AudioError: The waveform is too short.
    """
    inputs = features.model_inputs(waveform, config)
    del inputs["spectrogram"]
    kept = spectrogram.loud_frames(spectrogram.log_mel(waveform, config), config.trim_db)
    scaled, melody = np.split(spectrogram.scaled_bands(waveform, config), [config.n_mels], axis=1)
    return Heard(scaled, kept.start, config, melody, inputs)
