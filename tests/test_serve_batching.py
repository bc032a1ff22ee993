"""Clips scored together: each has its own answer, the one that it would have by itself."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

import emogram
from emogram.classifier import hear
from emogram.config import ServeConfig
from emogram.errors import ModelError
from emogram.serve.batching import Batcher
from emogram.testing import tiny_bundle


@pytest.fixture(scope="module")
def model():
    return emogram.load()


def sounds(n: int, *, lengths: tuple[float, ...] = (1.0, 1.5, 2.0)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0.0, 0.1, round(16000 * lengths[i % len(lengths)])).astype(np.float32) for i in range(n)]


def use(act, *, told: Any = lambda n: None, **settings: Any) -> Any:
    async def main() -> Any:
        batcher = Batcher(ServeConfig.from_dict(settings), told=told)
        await batcher.start()
        try:
            async with asyncio.timeout(20.0):
                return await act(batcher)
        finally:
            await batcher.stop()

    return asyncio.run(main())


@pytest.mark.parametrize("check", [True, False])
def test_each_has_the_answer_that_predict_gives(model, check):
    waves = sounds(24)
    clips = [hear(wave, model.info.spectrogram, check=check) for wave in waves]
    sizes: list[int] = []
    answers = use(
        lambda batcher: asyncio.gather(*(batcher.answer(model, clip) for clip in clips)),
        told=sizes.append,
        workers=2,
        max_wait_ms=50.0,
        max_batch=24,
    )
    for wave, answer in zip(waves, answers, strict=True):
        wanted = model.predict(wave, sample_rate=16000, check=check)
        assert dict(answer.scores) == pytest.approx(dict(wanted.scores), abs=1e-6)
        assert (answer.label, answer.speech_share) == (wanted.label, wanted.speech_share)
        assert len(answer.warnings) == len(wanted.warnings)
    assert sorted(sizes) == [8, 8, 8], "those of one length are one run"


def test_models_are_not_mixed(model, tmp_path):
    other = emogram.load(tiny_bundle(tmp_path))
    (wave,) = sounds(1)
    models = [model, other] * 4
    clips = [hear(wave, each.info.spectrogram, check=False) for each in models]
    answers = use(lambda batcher: asyncio.gather(*map(batcher.answer, models, clips)), workers=1, max_wait_ms=50.0)
    for each, answer in zip(models, answers, strict=True):
        assert dict(answer.scores) == pytest.approx(dict(each.predict(wave, sample_rate=16000).scores), abs=1e-6)


def test_batches_are_bounded_and_waiting_too(model):
    clips = [hear(wave, model.info.spectrogram, check=False) for wave in sounds(10, lengths=(1.0,))]
    sizes: list[int] = []

    async def act(batcher: Batcher) -> float:
        await asyncio.gather(*(batcher.answer(model, clip) for clip in clips))
        begun = asyncio.get_running_loop().time()
        await batcher.answer(model, clips[0])  # nobody joins it
        return asyncio.get_running_loop().time() - begun

    assert use(act, told=sizes.append, workers=1, max_wait_ms=200.0, max_batch=4) < 2.0
    assert sum(sizes) == 11 and max(sizes) == 4


def test_whoever_is_gone_costs_nothing_and_an_error_reaches_all_it_concerns(model, monkeypatch):
    (clip,) = [hear(wave, model.info.spectrogram, check=False) for wave in sounds(1)]
    scored: list[int] = []
    go = threading.Event()
    answers = type(model).answers

    def counting(self, clips):
        go.wait(10.0)
        scored.append(len(clips))
        if len(clips) == 3:
            raise ModelError("no probabilities")
        return answers(self, clips)

    monkeypatch.setattr(type(model), "answers", counting)

    async def act(batcher: Batcher) -> None:
        tasks = [asyncio.create_task(batcher.answer(model, clip)) for _ in range(3)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        tasks[1].cancel()
        go.set()
        await tasks[2]
        outcomes = await asyncio.gather(*(batcher.answer(model, clip) for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ModelError] * 3
        await batcher.answer(model, clip)

    use(act, workers=1, max_wait_ms=100.0)
    assert scored == [1, 3, 1]
