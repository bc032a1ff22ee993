"""The processes that decode: what they say is what Python says, and none of them can do harm."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import emogram
from emogram import audio, voices
from emogram.classifier import hear
from emogram.config import ServeConfig
from emogram.errors import EmogramError, MissingExtraError
from emogram.serve import child
from emogram.serve.problems import Problem
from emogram.serve.workers import Workers
from emogram.testing import tiny_bundle

SABOTAGE = """
import os, signal, sys, time
if sys.argv[:1] == ["-m"]:
    import soundfile
    opened = soundfile.SoundFile.__init__

    def __init__(self, file, *arguments, **options):
        name = os.path.basename(os.fsdecode(file)) if isinstance(file, (str, bytes, os.PathLike)) else ""
        if "kills" in name:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "hangs" in name:
            time.sleep(1000)
        if "slow" in name:
            time.sleep(0.5)
        opened(self, file, *arguments, **options)

    soundfile.SoundFile.__init__ = __init__
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return emogram.load(tiny_bundle(tmp_path_factory.mktemp("model")))


@pytest.fixture
def sabotage(tmp_path, monkeypatch):
    """Let the decoder of every new process die, hang or dawdle at files of certain names."""
    folder = tmp_path / "sabotage"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def clip(path: Path, seconds: float | None = None, *, seed: int = 1) -> Path:
    samples = (
        voices.speak("happy", speaker=voices.voices(1)[0], seed=seed)
        if seconds is None
        else np.full(round(seconds * 16000), 0.1)
    )
    soundfile.write(path, samples, 16000)
    return path


def values(path: Path, model, **others) -> dict:
    return {"path": str(path), "name": path.name, "model": model.info.model_id, "check": True, "max_s": 60.0, **others}


def use(model, act, **settings):
    """Run `act(workers)` on started workers."""

    async def main():
        workers = Workers([model], ServeConfig.from_dict({"workers": 1, **settings}))
        try:
            await workers.start()
            return await act(workers)
        finally:
            await workers.stop()
            assert workers.pids() == []

    return asyncio.run(main())


def test_a_clip_is_heard_as_python_hears_it(tmp_path, model):
    path = clip(tmp_path / "clip.wav")
    answer = use(model, lambda workers: workers.call("clip", values(path, model), limit_s=20.0))
    config = model.info.spectrogram
    wanted = hear(audio.load_audio(path, sample_rate=config.sample_rate), config, check=True)
    assert set(answer.arrays) == set(wanted.inputs)
    for name, array in wanted.inputs.items():
        np.testing.assert_allclose(answer.arrays[name], array, rtol=1e-6, atol=1e-6)
    assert answer.head["speech_share"] == pytest.approx(wanted.speech_share)
    assert (answer.head["sample_rate"], answer.head["channels"]) == (16000, 1)


def test_errors_come_through_with_their_codes_and_call_the_file_by_its_name(tmp_path, model):
    (tmp_path / "9f").write_bytes(b"no sound")
    clip(tmp_path / "long.wav", 3.0)

    async def act(workers):
        with pytest.raises(EmogramError, match=r"^talk\.wav: not a readable sound file") as caught:
            await workers.call("clip", values(tmp_path / "9f", model, name="talk.wav"), limit_s=20.0)
        assert caught.value.code == "unreadable"
        with pytest.raises(EmogramError, match="POST /v1/jobs") as caught:
            await workers.call("clip", values(tmp_path / "long.wav", model, max_s=2.0), limit_s=20.0)
        assert caught.value.code == "too_long"

    use(model, act)


def test_what_the_machine_lacks_is_told_without_how_to_install_it_there():
    def lacks():
        raise MissingExtraError("reading a.m4a", "media")

    answer = child._done(lacks, {})
    assert answer.head["error"] == {
        "code": "missing_extra",
        "message": "reading a.m4a needs the extra 'media', which is not installed",
    }


def test_a_process_that_dies_or_hangs_is_replaced(tmp_path, model, sabotage):
    paths = {name: clip(tmp_path / f"{name}.wav") for name in ("kills", "hangs", "fine")}

    async def act(workers):
        (first,) = workers.pids()
        for name, code, limit_s in (("kills", "crashed", 20.0), ("hangs", "timeout", 0.3)):
            with pytest.raises(EmogramError) as caught:
                await workers.call("clip", values(paths[name], model), limit_s=limit_s)
            assert caught.value.code == code
            assert name in str(caught.value)
            answer = await workers.call("clip", values(paths["fine"], model), limit_s=20.0)
            assert answer.head["channels"] == 1
        assert workers.counts == {"crashed": 1, "timeout": 1}
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)

    use(model, act)


def test_a_process_that_was_ended_while_idle_is_no_fault_of_the_next_file(tmp_path, model):
    path = clip(tmp_path / "fine.wav")

    async def act(workers):
        (pid,) = workers.pids()
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.1)
        await workers.call("clip", values(path, model), limit_s=20.0)
        assert workers.pids() != [pid] and workers.counts == {}

    use(model, act)


def test_processes_that_do_not_start_are_an_error(tmp_path, model, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys\nif sys.argv[:1] == ['-m']: sys.exit('no library')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    async def act(workers):
        raise AssertionError("it started")

    with pytest.raises(EmogramError, match=r"a process that decodes does not start \(exit code 1: .*no library\)"):
        use(model, act)


def flac(path: Path, seconds: int, rate: int, channels: int) -> Path:
    """Many values in few bytes."""
    with soundfile.SoundFile(path, "w", rate, channels) as file:
        for _ in range(seconds):
            file.write(np.full((rate, channels), 0.1, np.float32))
    return path


def test_memory_is_bounded(tmp_path, model):
    """A hundred kilobytes that unpack into more than the process may take, and whose header does not tell."""
    bomb = flac(tmp_path / "bomb.flac", 100, 96000, 8)
    content = bytearray(bomb.read_bytes())
    content[21] &= 0xF0  # the number of samples, 36 bits of the header; 0 is "unknown", as of FLAC from a pipe
    content[22:26] = bytes(4)
    bomb.write_bytes(content)

    async def act(workers):
        with pytest.raises(EmogramError) as caught:
            await workers.call("clip", values(bomb, model), limit_s=20.0)
        assert caught.value.code in ("memory", "crashed")
        assert workers.counts[caught.value.code] == 1
        await workers.call("clip", values(clip(tmp_path / "fine.wav"), model), limit_s=20.0)

    use(model, act, worker_memory_mb=256)


@pytest.mark.parametrize("task", ["clip", "timeline"])
def test_what_unpacks_into_too_much_is_refused_by_its_header(tmp_path, model, task):
    bomb = flac(tmp_path / "bomb.flac", 20, 192000, 8)

    async def act(workers):
        with pytest.raises(EmogramError, match="in 8 channels at 192000 Hz") as caught:
            await workers.call(task, {**values(bomb, model), "format": "json"}, limit_s=20.0)
        assert caught.value.code == "too_long"

    use(model, act)


def test_what_nobody_waits_for_frees_its_process(tmp_path, model, sabotage, monkeypatch):
    monkeypatch.setattr("emogram.serve.workers.GRACE_S", 5.0)  # long enough for what is slow, on a busy machine
    paths = {name: clip(tmp_path / f"{name}.wav") for name in ("slow", "hangs", "fine")}

    async def act(workers):
        (pid,) = workers.pids()
        for name in ("slow", "hangs"):
            task = asyncio.create_task(workers.call("clip", values(paths[name], model), limit_s=60.0))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            began = time.monotonic()
            await workers.call("clip", values(paths["fine"], model), limit_s=20.0)
            assert time.monotonic() - began < 10.0
            assert (workers.pids() == [pid]) == (name == "slow"), "only what does not end by itself is ended"

    use(model, act)


def test_too_much_at_once_is_told_when_to_come_again(tmp_path, model, sabotage):
    path = clip(tmp_path / "slow.wav")

    async def act(workers):
        outcomes = await asyncio.gather(
            *(workers.call("clip", values(path, model), limit_s=20.0) for _ in range(6)), return_exceptions=True
        )
        busy = [outcome for outcome in outcomes if isinstance(outcome, Problem)]
        assert len(busy) == 3
        assert {problem.code for problem in busy} == {"busy"}
        assert all(problem.retry_after_s > 0.0 for problem in busy)

    use(model, act, max_queue=2)


@pytest.mark.parametrize("bound", [{"max_queue": 1}, {"max_queue_s": 0.05}])
def test_clips_on_their_way_have_a_place_for_a_while(model, monkeypatch, bound):
    """By number, and by the wait that is to be expected; one may always wait."""
    monkeypatch.setattr("emogram.serve.workers.COMING_S", 0.1)
    workers = Workers([model], ServeConfig(workers=1, **bound))

    async def main() -> None:
        with workers.coming():
            workers.check_room()
            with workers.coming():
                with pytest.raises(Problem) as caught:
                    workers.check_room()
                assert caught.value.code == "busy" and caught.value.retry_after_s is not None
                await asyncio.sleep(0.2)
                workers.check_room()  # whoever sends slowly keeps nobody out
        with workers.coming(), workers.coming(), pytest.raises(Problem):
            workers.check_room()
        workers.check_room()

    asyncio.run(main())


def test_overrun_few_may_wait_and_afterwards_as_many_as_before(model, monkeypatch):
    """A burst fills the queue. Only where many more come all the time does waiting help nobody."""
    now = 0.0
    monkeypatch.setattr("emogram.serve.workers.time", SimpleNamespace(monotonic=lambda: now))
    workers = Workers([model], ServeConfig(workers=2, max_queue=8, max_queue_s=1000.0))

    def n_let_in() -> int:
        """Return how many are let in, one after the other, beside the two that are being read, until one is refused."""
        n = 0
        with contextlib.ExitStack() as stack, contextlib.suppress(Problem):
            while True:
                workers.check_room()
                stack.enter_context(workers.coming())
                n += 1
        return n - 2

    async def main() -> None:
        nonlocal now
        assert [n_let_in() for _ in range(5)] == [8] * 5, "some more than there is room for"
        with contextlib.ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(workers.coming())
            for _ in range(100):  # of 20 that could be read in a second
                now += 0.01
                with pytest.raises(Problem):
                    workers.check_room()
        assert n_let_in() == 0, "whoever is done gets another at once"
        now += 1.0
        assert n_let_in() == 1, "not over so soon"
        now += 10.0
        assert n_let_in() == 8

    asyncio.run(main())


def test_views_have_processes_of_their_own(tmp_path, model, sabotage):
    paths = {name: clip(tmp_path / f"{name}.wav") for name in ("hangs", "fine")}

    async def act(workers):
        assert len(workers.pids()) == 1
        view = asyncio.create_task(workers.call("clip", values(paths["hangs"], model), limit_s=60.0, lane="view"))
        while len(workers.pids()) < 2:
            await asyncio.sleep(0.05)
        await workers.call("clip", values(paths["fine"], model), limit_s=20.0)
        assert not view.done()
        view.cancel()

    use(model, act)


def test_processes_end_with_the_one_that_started_them(tmp_path, model):
    """Not even kill -9 leaves one behind."""
    import subprocess
    import sys

    code = (
        "import asyncio, sys, time, emogram\n"
        "from emogram.config import ServeConfig\n"
        "from emogram.serve.workers import Workers\n"
        "async def main():\n"
        "    workers = Workers([emogram.load(sys.argv[1])], ServeConfig(workers=1))\n"
        "    await workers.start()\n"
        "    print(*workers.pids(), flush=True)\n"
        "    time.sleep(60)\n"
        "asyncio.run(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(model.bundle.folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    os.kill(pid, 0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    until = time.monotonic() + 10.0
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            break  # gone, and nobody has asked for its exit code
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{pid}").exists()
