"""The process that decodes for the service: it is asked for tasks by name, within the memory that it may take."""

from __future__ import annotations

from typing import Any

from emogram.errors import EmogramError
from emogram.serve.problems import message_of
from emogram.watched import Answer, Parent


def main() -> None:
    """Serve until the parent is gone."""
    parent = Parent()
    job = parent.hear()
    limit_memory(job["memory_mb"])
    import numpy as np

    from emogram.classifier import hear
    from emogram.serve.tasks import ModelsAtHand, task_named

    models = ModelsAtHand(job["models"])
    # What crashes later is then the fault of a file, and not of the installation; and the first clip need not wait.
    config = models.config(next(iter(job["models"])))
    hear(np.random.default_rng(0).normal(0.0, 0.1, config.sample_rate).astype(np.float32), config, check=True)
    import soundfile  # noqa: F401
    import soxr  # noqa: F401

    parent.say({"ready": True})
    while True:
        asked = parent.hear()
        answer = _done(lambda asked=asked: task_named(asked["task"])(models, asked["values"]), asked["values"])
        parent.say(answer.head, answer.arrays)


def _done(task: Any, values: dict[str, Any]) -> Answer:
    """Return what a task answers, or what went wrong in it."""
    try:
        answer: Answer = task()
    except EmogramError as error:
        # The path means nothing to anybody.
        message = message_of(error)
        if "name" in values:
            message = message.replace(str(values["path"]), values["name"])
        return Answer({"error": {"code": error.code, "message": message}})
    except MemoryError:
        return Answer({"error": {"code": "memory", "message": "not enough memory for this file"}})
    except Exception as error:
        return Answer({"error": {"code": "unexpected", "message": f"{type(error).__name__}: {error}"}})
    return Answer({"answer": answer.head}, answer.arrays)


def limit_memory(megabytes: int) -> None:
    """Bound what this process may take, and let it leave no core behind."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    resource.setrlimit(resource.RLIMIT_DATA, (megabytes * 2**20, megabytes * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is no rare thing here, and its core would hold speech


if __name__ == "__main__":
    main()
