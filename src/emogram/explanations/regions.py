"""A map -> the few stretches of time and frequency that spoke most."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from emogram.records import Explanation

MIN_SHARE = 0.02  # of all that spoke for a label; less is not worth a word


@dataclass(frozen=True)
class Region:
    """A part of a spectrogram that spoke for a label.

    Attributes:
        start_s: Start in seconds from the start of the recording.
        end_s: End.
        low_hz: Lowest frequency in Hz.
        high_hz: Highest frequency in Hz.
        share: What of all that spoke for the label lies in it, 0 to 1.
    """

    start_s: float
    end_s: float
    low_hz: float
    high_hz: float
    share: float

    def to_dict(self) -> dict[str, float]:
        """Return a plain dict, ready for JSON."""
        return {name: float(f"{value:.6g}") for name, value in asdict(self).items()}


def regions(explanation: Explanation, place: int, *, most: int = 3) -> list[Region]:
    """Return the parts of a map above its `mark_level`, the weightiest first; none where nothing spoke for the label.

    Args:
        explanation: As `explain` returns it.
        place: Which of its labels.
        most: How many at the most.
    """
    from scipy import ndimage

    map_ = explanation.maps[place]
    if map_.max() <= 0:
        return []
    numbered, _ = ndimage.label(map_ >= explanation.mark_level(place))
    total = float(map_[map_ > 0].sum())
    half_s = float(np.diff(explanation.times_s).mean()) / 2 if len(explanation.times_s) > 1 else 0.0
    end_s = explanation.start_s + len(explanation.waveform) / explanation.sample_rate
    found = []
    for number, (frames, bands) in enumerate(ndimage.find_objects(numbered), start=1):
        found.append(
            Region(
                start_s=max(explanation.start_s, float(explanation.times_s[frames.start]) - half_s),
                end_s=min(end_s, float(explanation.times_s[frames.stop - 1]) + half_s),
                low_hz=float(explanation.frequencies_hz[bands.start]),
                high_hz=float(explanation.frequencies_hz[bands.stop - 1]),
                share=float(map_[numbered == number].sum()) / total,
            )
        )
    return sorted([region for region in found if region.share >= MIN_SHARE], key=lambda region: -region.share)[:most]
