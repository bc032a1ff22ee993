"""The process that scores: it reads inputs from stdin, a JSON list a line, and answers each with a JSON line on stdout.

It is a process of its own so that a decoder that crashes, hangs or eats all memory takes one file with it and no more;
whoever started it (`scorer.py`) sees that, and starts another.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any, BinaryIO

from emogram.errors import EmogramError


def main() -> None:
    """Serve until stdin ends."""
    # What a C library prints must not stand between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    waiting: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, waiting), daemon=True).start()
    try:
        _serve(json.loads(waiting.get()), waiting, answers)
    except BrokenPipeError:
        os._exit(1)


def _listen(stdin: BinaryIO, waiting: queue.Queue[bytes]) -> None:
    for line in stdin:
        waiting.put(line)
    os._exit(0)  # whoever asked is gone, and nobody wants an answer; even in the middle of a decoder


def _serve(job: dict[str, Any], waiting: queue.Queue[bytes], answers: BinaryIO) -> None:
    try:
        from emogram.archive.inputs import Input
        from emogram.archive.scoring import score_input
        from emogram.classifier import Classifier
        from emogram.config import ArchiveConfig

        config = ArchiveConfig.from_dict(job["settings"])
        classifier = Classifier.load(job["model"], shifts=config.shifts)
    except EmogramError as error:
        _say(answers, {"refused": str(error)})
        return
    _say(answers, {"sha256": classifier.sha256})
    while True:
        for values in json.loads(waiting.get()):
            _say(answers, score_input(classifier, Input(**values), config))


def _say(answers: BinaryIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value).encode("ascii") + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
