"""What predicting takes once the model is loaded, in a process of its own: `python -m benchmarks.predicting`.

Takes a file with the name of a sound file a line, and a model; prints wall seconds and processor seconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import emogram
from emogram.records import Clip, Prediction


def main(arguments: Sequence[str]) -> None:
    """Predict, by as many threads as there are processors, as `emogram predict` does."""
    names, model = arguments
    clips = [Clip(Path(name)) for name in Path(names).read_text(encoding="utf-8").splitlines()]
    classifier = emogram.load(model)
    list(classifier.predict_many(clips[:8], check=True))
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for _, said in classifier.predict_many(clips, check=True):
        if not isinstance(said, Prediction):
            raise said
    print(json.dumps([time.perf_counter() - wall_s, time.process_time() - cpu_s]))


if __name__ == "__main__":
    main(sys.argv[1:])
