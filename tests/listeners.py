"""A reader of progress, for tests that look at what is told."""

import contextlib

from emogram.progress import Progress, Task


class Listener(Progress):
    """Keeps what is said and how far each task came; may cut in."""

    def __init__(self, *, interrupt_at=None):
        self.lines, self.steps, self.totals = [], {}, {}
        self._interrupt_at = interrupt_at

    def say(self, line):
        self.lines.append(line)
        if self._interrupt_at and line.startswith(self._interrupt_at):
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def task(self, what, total, *, unit="clips"):
        self.totals[what] = total
        listener = self

        class Count(Task):
            def advance(self, steps=1, *, note=""):
                listener.steps[what] = listener.steps.get(what, 0) + steps

        yield Count()
