"""The site of the documentation builds without a warning and without network, and asks for nothing of other hosts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import emogram
from emogram.parallel import child_environment

pytest.importorskip("mkdocs", reason="the site needs mkdocs-material")

ROOT = Path(__file__).parents[1]

# An audit hook sees every socket that Python opens, and cannot be taken off again.
BUILD = """
import socket, sys

def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise PermissionError(event)

sys.addaudithook(hook)
from mkdocs.__main__ import cli

cli()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=child_environment(NO_MKDOCS_2_WARNING="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    loads = re.compile(r"""<(?:script|img|iframe|source|video|audio)[^>]*\bsrc=["']?(https?:)?//[^>]*>""")
    sheets = re.compile(r"""<link(?![^>]*rel=["']?(?:canonical|prev|next))[^>]*\bhref=["']?(https?:)?//[^>]*>""")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not loads.search(text) and not sheets.search(text), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.slow
def test_every_command_and_every_public_name_has_its_place(site: Path) -> None:
    commands = {path.stem for path in (site / "reference" / "commands").glob("*.html")}
    assert {"train", "predict", "corpora-download", "serve"} <= commands
    assert "--learning-rate" in (site / "reference" / "commands" / "train.html").read_text(encoding="utf-8")
    reference = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in set(emogram.__all__) - {"__version__"}:
        assert f'id="emogram.{name}"' in reference, name


@pytest.mark.slow
def test_every_page_of_the_folder_is_in_the_navigation(site: Path) -> None:
    front = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert f'href="{page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()}"' in front, page
