"""The process that scores: it reads inputs from stdin, a JSON list a line, and answers each with a JSON line on stdout.

It is a process of its own so that a decoder that crashes, hangs or eats all memory takes one file with it and no more;
whoever started it (`scorer.py`) sees that, and starts another.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

from emogram.errors import EmogramError


def main() -> None:
    """Serve until stdin ends."""
    # What a C library prints must not stand between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    waiting: queue.Queue[bytes] = queue.Queue()
    first = sys.stdin.buffer.readline()
    if not first:
        return  # whoever started this process is gone
    job = json.loads(first)
    threading.Thread(target=_listen, args=(sys.stdin.buffer, waiting, job["folder"]), daemon=True).start()
    try:
        _serve(job, waiting, answers)
    except BrokenPipeError:
        os._exit(1)


def _listen(stdin: BinaryIO, waiting: queue.Queue[bytes], folder: str) -> None:
    for line in stdin:
        waiting.put(line)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # whoever asked is gone, and nobody wants an answer; even in the middle of a decoder


def _serve(job: dict[str, Any], waiting: queue.Queue[bytes], answers: BinaryIO) -> None:
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
        _say(answers, {"refused": str(error)})
        return
    if classifier.info.spectrogram is not None:
        # What crashes later is then the fault of a file, and not of the installation.
        classifier.predict(np.random.default_rng(0).normal(0.0, 0.1, 16000), sample_rate=16000, check=config.check)
    _say(answers, {"sha256": classifier.sha256})
    while True:
        inputs = [Input(**values) for values in json.loads(waiting.get())]
        for each, at_hand in fetch(inputs, Path(job["folder"])):
            _say(answers, score_input(classifier, each, at_hand, config))


def _say(answers: BinaryIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value).encode("ascii") + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
