"""The OpenAPI description against the running service: every status, type, header and shape is one that it promises."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest
from serving import running

import emogram
from emogram.config import ServeConfig
from emogram.serve.app import create_app
from emogram.testing import tiny_bundle

pytest.importorskip("schemathesis")
sys.path.insert(0, str(Path(__file__).parents[1]))

from torture.schema import checked, done_job

TOKEN = {"Authorization": "Bearer a-secret-token"}


def test_no_invented_request_is_answered_as_the_description_does_not_say(tmp_path):
    model = emogram.load(tiny_bundle(tmp_path / "model"))
    app = create_app([model], ServeConfig(workers=1, token="a-secret-token", max_job_mb=1.0))
    with running(app) as url:
        job = done_job(url, TOKEN)
        found = checked(url, examples=300, seed=7, job_id=job, token="a-secret-token", limit_s=600.0)
        assert not found.failures, found.output
        assert found.complete and found.n_cases >= 5000, found.output
        assert httpx.get(f"{url}/readyz").status_code == 200
        said = httpx.get(f"{url}/metrics", headers=TOKEN).text
    assert 'status="500"' not in said
    assert all(f'status="{status}"' in said for status in (200, 202, 404, 422)), "it looked into the rooms"


def test_a_wrong_method_is_told_every_right_one(tmp_path):
    """Of several routes of one path, Starlette names the methods of the first alone."""
    with running(create_app([emogram.load(tiny_bundle(tmp_path))], ServeConfig(workers=1))) as url:
        for path, methods in (("", "GET, POST"), ("/abc", "DELETE, GET"), ("/abc/cancel", "POST")):
            answer = httpx.put(f"{url}/v1/jobs{path}")
            assert (answer.status_code, answer.headers["allow"]) == (405, methods)
