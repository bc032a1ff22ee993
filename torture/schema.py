"""What the OpenAPI description promises, held against a running service by schemathesis, case by case."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import soundfile

from emogram.voices import speak, voices

# All checks but one: a description cannot say which bytes are sound, so what it allows may yet be refused.
LEFT_OUT = "positive_data_acceptance"
# Views of a job need one that is done, which no schema can invent. Since they are asked of it whatever job a sequence
# has just sent, the check that what was created is there would hold the one against the other once it is deleted.
VIEWS = ("result", "windows", "waveform", "spectrogram", "explanation", "audio")


@dataclass(frozen=True)
class Found:
    """What schemathesis found.

    Attributes:
        n_cases: Requests with their answers that were checked.
        failures: What was not as described, in words.
        complete: Whether it came to its end.
        output: All that it said.
    """

    n_cases: int
    failures: tuple[str, ...]
    complete: bool
    output: str


def checked(url: str, *, examples: int, seed: int, job_id: str, token: str | None = None, limit_s: float) -> Found:
    """Check every operation of the service at `url` with up to so many examples each way.

    Args:
        url: Address of the service.
        examples: Most cases of an operation in each phase that invents them.
        seed: What all that is random comes from.
        job_id: A job that is done, for the views.
        token: The token of the service.
        limit_s: Longest that it may take in seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings, report = Path(folder) / "schemathesis.toml", Path(folder) / "report.json"
        settings.write_text(
            f"[checks.{LEFT_OUT}]\nenabled = false\n\n"
            + "".join(
                f'[[operations]]\ninclude-path = "/v1/jobs/{{job_id}}/{view}"\nparameters = {{ job_id = "{job_id}" }}\n'
                "checks = { ensure_resource_availability = { enabled = false } }\n"
                for view in VIEWS
            ),
            encoding="utf-8",
        )
        words = [
            sys.executable, "-m", "schemathesis.cli", "--config-file", settings, "run", f"{url}/openapi.json",
            "--no-color", "--max-examples", examples, "--seed", seed,
            "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all", "--request-timeout", 60,
            "--report", "json", "--report-json-path", report,
            *(["-H", f"Authorization: Bearer {token}"] if token else []),
        ]  # fmt: skip
        done = subprocess.run(
            list(map(str, words)), capture_output=True, text=True, check=False, timeout=limit_s, cwd=folder
        )
        said: dict[str, Any] = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    failures = tuple(f"{each['title']} ({each['count']}): {each['operations']}" for each in said.get("failures", ()))
    if done.returncode and not failures:
        failures = (f"exit code {done.returncode}",)
    return Found(
        said.get("test_cases", {}).get("generated", 0), failures, said.get("complete", False), done.stdout + done.stderr
    )


def clip(number: int = 0) -> bytes:
    """Return a few seconds of a synthetic voice as a WAV file, another one for each number."""
    content = io.BytesIO()
    soundfile.write(content, speak("happy", speaker=voices(2)[number % 2], seed=number), 16000, format="WAV")
    return content.getvalue()


def done_job(url: str, headers: dict[str, str]) -> str:
    """Send a recording, wait until it is analysed, and return its id."""
    sent = httpx.post(f"{url}/v1/jobs", headers=headers, files={"file": clip()}).json()
    until = time.monotonic() + 60.0
    while httpx.get(url + sent["links"]["self"], headers=headers).json()["status"] != "done":
        assert time.monotonic() < until, "the job does not end"
        time.sleep(0.05)
    return str(sent["id"])
