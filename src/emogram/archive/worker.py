"""The process that scores: it is asked with lists of inputs and answers each input.

It is a process of its own so that a decoder that crashes, hangs or eats all memory takes one file with it and no more;
whoever started it (`scorer.py`) sees that, and starts another.
"""

from __future__ import annotations

from emogram.errors import EmogramError
from emogram.watched import Parent


def main() -> None:
    """Serve until the parent is gone."""
    parent = Parent()
    job = parent.hear()
    try:
        import numpy as np

        from emogram.archive.fetching import fetch
        from emogram.archive.inputs import Input
        from emogram.archive.scoring import score_input
        from emogram.classifier import Classifier
        from emogram.config import ArchiveConfig

        config = ArchiveConfig.from_dict(job["settings"])
        classifier = Classifier.load(job["model"], shifts=config.shifts)
    except EmogramError as error:
        parent.say({"refused": str(error)})
        return
    if classifier.info.spectrogram is not None:
        # What crashes later is then the fault of a file, and not of the installation.
        classifier.predict(np.random.default_rng(0).normal(0.0, 0.1, 16000), sample_rate=16000, check=config.check)
    parent.say({"sha256": classifier.sha256})
    while True:
        inputs = [Input(**values) for values in parent.hear()]
        for each, at_hand in fetch(inputs, parent.folder):
            parent.say(score_input(classifier, each, at_hand, config))


if __name__ == "__main__":
    main()
