"""The page in a real Chromium against the real service: what it shows is what the service says."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile
from browsing import browsing, chromium, served

import emogram
from emogram import voices
from emogram.plots.style import EMOTION_COLOURS
from emogram.serve.markdown import to_html
from emogram.testing import tiny_bundle

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RATE = 16000
TOKEN = "open-sesame"
FORMATS = ("json", "jsonl", "csv", "parquet", "textgrid", "eaf", "audacity", "vtt", "rttm", "html")

needs_browser = pytest.mark.skipif(
    chromium() is None, reason="no Chromium here: apt-get install chromium, or set EMOGRAM_CHROMIUM to one"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def talk(folder) -> Path:
    """Two voices that do not exist, one angry and one sad, with silence before, between and behind: about seven s."""
    first, second = voices.voices(2)
    parts = [voices.speak("angry", speaker=first, seed=3), voices.speak("sad", speaker=second, seed=4)]
    silence = np.zeros(RATE, np.float32)
    path = folder / "talk.wav"
    soundfile.write(path, np.concatenate([silence[: RATE // 2], parts[0], silence, parts[1], silence]), RATE)
    return path


@pytest.fixture(scope="module")
def url(folder) -> Iterator[str]:
    with served(folder / "jobs") as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser(talk) -> Iterator[Browser]:
    pytest.importorskip("playwright", reason="Playwright is missing: pip install playwright axe-playwright-python")
    with browsing(talk) as found:
        yield found


@pytest.fixture(scope="module")
def link(url, talk) -> str:
    """What the address of the page ends in to show a finished job on the talk."""
    return linked(url, talk)


def linked(url: str, path: Path, **fields: str) -> str:
    job = httpx.post(f"{url}/v1/jobs", files={"file": (path.name, path.read_bytes())}, data=fields).json()
    while job["status"] != "done":
        assert job["status"] in ("queued", "running"), job
        time.sleep(0.1)
        job = httpx.get(url + job["links"]["self"]).json()
    return f"/#job={job['id']}"


class Seen:
    """What a page said and asked for while it was open."""

    def __init__(self, page: Page) -> None:
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.sockets: list[Any] = []
        page.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda socket: self.sockets.append(socket))  # playwright takes no built-in method

    def hosts(self) -> set[str]:
        sockets = [each.url.replace("ws:", "http:") for each in self.sockets]
        return {urlsplit(each).netloc for each in [*self.asked, *sockets] if not each.startswith(("blob:", "data:"))}


@pytest.fixture
def open_page(browser, url) -> Iterator[Callable[..., Page]]:
    """Opens the page; at the end nothing may have gone wrong in it, and no other host was asked for anything."""
    contexts = []

    def opened(place: str = "", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, "locale": "en-GB", **options})
        page = context.new_page()
        contexts.append((context, Seen(page)))
        page.seen = contexts[-1][1]
        page.goto(url + place)
        page.wait_for_selector("html[data-ready]")
        if place:
            page.wait_for_selector("#summary")
        return page

    yield opened
    for context, seen in contexts:
        context.close()
        assert seen.problems == []
        assert seen.hosts() <= {urlsplit(url).netloc}


def analysed(page: Page, path: Path) -> str:
    """Give the page a file, wait for the result, and return the address of its job."""
    page.set_input_files("#file", path)
    page.wait_for_selector("#summary", timeout=60_000)
    return page.locator("[data-format=json]").evaluate("link => link.href").split("/result")[0]


def shown_scores(page: Page, place: str) -> list[float]:
    return page.locator(f"{place} .value").evaluate_all("cells => cells.map(cell => Number(cell.dataset.score))")


def check_accessible(page: Page) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert serious == [], json.dumps([(each["id"], [node["html"] for node in each["nodes"]]) for each in serious])


# ---------------------------------------------------------------------------------------------------- without a browser


def test_parts_of_the_page_are_sent_strictly_and_once(url):
    for path in ("/", "/page/main.js", "/page/page.css", "/card"):
        response = httpx.get(url + path)
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy and "unsafe" not in policy
        again = httpx.get(url + path, headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["content-security-policy"] == policy


@pytest.mark.parametrize("name", ["..%2fapp.py", "app.py", "%2e%2e/app.py", "nothing.js", "%00"])
def test_nothing_but_the_page_is_sent(url, name):
    response = httpx.get(f"{url}/page/{name}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_the_page_needs_no_style_and_no_script_in_its_lines():
    content = (Path(emogram.__file__).parent / "serve" / "page" / "index.html").read_text()
    assert not re.search(r"style=|\son\w+=|<style|javascript:|//(?!-)", content.replace("<!doctype", ""))


def test_colours_are_those_of_the_plots():
    text = (Path(emogram.__file__).parent / "serve" / "page" / "colours.js").read_text()
    block = text.split("const EMOTIONS = {")[1].split("}")[0]
    assert dict(re.findall(r'(\w+): "(#\w+)"', block)) == EMOTION_COLOURS


def test_the_card_is_shown_whole_and_safe(url):
    content = httpx.get(f"{url}/card").text
    assert "<h2>Limits, and uses to avoid</h2>" in content and "<td>nemo</td>" in content
    assert "pipeline_tag" not in content


def test_markdown_of_strangers_stays_text():
    html = to_html(
        "---\nsecret: yes\n---\n# A <b>\n\n<script>alert(1)</script>\n\n[bad](javascript:alert(1)) "
        "[good](https://example.org/a?b=1&c=2) `<i>` **bold**\n\n- one\n- two <img src=x onerror=y>\n\n"
        "| a | b |\n| --- | --- |\n| 1 \\| 2 | <u> |\n\n```sh\n<pre> **no**\n```\n"
    )
    assert re.findall(r"<(?!/?(?:a|h1|p|ul|li|code|pre|strong|div|table|thead|tbody|tr|th|td)\b)[^>]*>", html) == []
    assert html.count("<a ") == 1
    assert "secret" not in html and "<strong>bold</strong>" in html and "<code>&lt;i&gt;</code>" in html
    assert "<td>1 | 2</td>\n<td>&lt;u&gt;</td>" in html and "&lt;pre&gt; **no**" in html
    good = to_html("see [x](https://example.org/a?b=1&c=2) ![p](https://example.org/p.png)")
    assert good.startswith('<p>see <a href="https://example.org/a?b=1&amp;c=2" rel="noreferrer">x</a> ')
    assert "<img" not in good, "nothing is fetched from elsewhere"


# ------------------------------------------------------------------------------------------------------- with a browser


@needs_browser
def test_a_file_becomes_a_timeline_that_says_what_the_service_says(open_page, talk):
    page = open_page()
    assert "Audio stays on this machine" in page.inner_text("#privacy")
    job = analysed(page, talk)
    result = httpx.get(f"{job}/result").json()
    windows = httpx.get(f"{job}/windows").json()
    assert result["segments"], "the voices are heard"
    assert page.inner_text("#announce") == f"talk.wav: {page.inner_text('#summary-title')}"

    page.locator("#as-table summary").click()
    rows = page.locator("#as-table tbody tr").evaluate_all("rows => rows.map(row => row.cells[2].textContent)")
    assert rows == [f"unsure ({s['label']}?)" if s["abstained"] else s["label"] for s in result["segments"]]
    for name, share in result["summary"]["shares"].items():
        assert f"{share * 100:.0f} %" in page.locator(".share-list li", has_text=name).inner_text()

    page.locator("#as-table tbody button").first.click()  # goes to the middle of the first segment
    at = (result["segments"][0]["start_ms"] + result["segments"][0]["end_ms"]) / 2
    inside = [k for k, start in enumerate(windows["start_ms"]) if start <= at <= windows["end_ms"][k]]
    nearest = min(inside, key=lambda k: abs((windows["start_ms"][k] + windows["end_ms"][k]) / 2 - at))
    assert shown_scores(page, "#moment") == windows["scores"][nearest]
    marks = page.locator("#moment .mark").evaluate_all("marks => marks.map(mark => parseFloat(mark.style.left) / 100)")
    assert marks == pytest.approx([each["score"] for each in result["segments"][0]["scores"]], abs=1e-4)


@needs_browser
def test_tracks_are_drawn_zoomed_and_played_in_step(open_page, link):
    page = open_page(link)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.track')].every(each => each.getContext('2d')"
        ".getImageData(0, 0, each.width, each.height).data.some(value => value))"
    )
    whole = page.locator(".spectrogram").evaluate("canvas => canvas.toDataURL()")
    page.get_by_role("button", name="Zoom in").click()
    page.wait_for_function("before => document.querySelector('.spectrogram').toDataURL() !== before", arg=whole)
    page.get_by_role("button", name="Show all").click()
    page.locator("#tracks").click(position={"x": 30, "y": 120})
    before = float(page.get_attribute("#tracks", "aria-valuenow"))
    page.click("#play")
    page.wait_for_function(
        "start => Number(document.querySelector('#tracks').getAttribute('aria-valuenow')) > start + 0.4", arg=before
    )
    page.click("#play")
    page.wait_for_function("() => document.querySelector('#play').textContent === 'Play'")


@needs_browser
def test_a_long_recording_is_seen_from_afar_until_it_is_zoomed(open_page, url, talk):
    samples, _ = soundfile.read(talk, dtype="float32")
    lecture = talk.with_name("lecture.wav")
    soundfile.write(lecture, np.concatenate([samples, np.zeros(65 * RATE, np.float32)]), RATE)
    page = open_page(linked(url, lecture))
    page.wait_for_selector(".afar")
    assert page.locator(".hertz span").first.is_hidden()
    page.focus("#tracks")
    with page.expect_response(lambda response: "/spectrogram?" in response.url):
        page.keyboard.press("+")
        page.keyboard.press("+")
    page.wait_for_selector(".afar", state="hidden")
    assert page.locator(".hertz span").first.is_visible()


@needs_browser
def test_each_party_of_a_call_has_its_own_track(open_page, url, talk):
    samples, _ = soundfile.read(talk, dtype="float32")
    call = talk.with_name("call.wav")
    soundfile.write(call, np.stack([samples, np.roll(samples, RATE)], axis=1), RATE)
    place = linked(url, call, channels="split")
    segments = httpx.get(f"{url}/v1/jobs/{place.partition('=')[2]}/result").json()["segments"]
    assert {each["channel"] for each in segments} == {0, 1}
    page = open_page(place)
    assert page.locator(".track-name").all_inner_texts() == ["Channel 0", "Channel 1"]
    page.focus("#tracks")
    for channel in (0, 1):
        page.keyboard.press("Home")
        page.keyboard.press("Shift+ArrowRight")
        first = next(each for each in segments if each["channel"] == channel)
        at = (first["start_ms"] + first["end_ms"]) / 2000
        assert float(page.get_attribute("#tracks", "aria-valuenow")) == pytest.approx(at, abs=0.01)
        page.keyboard.press("ArrowDown")


@needs_browser
def test_every_download_is_what_the_service_gives(open_page, url, link):
    page = open_page(link)
    job = f"{url}/v1/jobs/{link.partition('=')[2]}"
    links = page.locator("[data-format]")
    assert sorted(links.evaluate_all("links => links.map(link => link.dataset.format)")) == sorted(FORMATS)
    for format_ in FORMATS:
        with page.expect_download() as waited:
            page.click(f"[data-format={format_}]")
        given = httpx.get(f"{job}/result", params={"response_format": format_})
        assert Path(waited.value.path()).read_bytes() == given.content
        assert waited.value.suggested_filename in given.headers["content-disposition"]


@needs_browser
def test_a_recording_of_the_microphone_is_analysed(open_page, talk):
    page = open_page()
    page.click("#record")
    page.wait_for_function("() => document.querySelector('#recorder-time').textContent === '0:05'", timeout=20_000)
    page.click("#record")
    page.wait_for_selector("#summary", timeout=60_000)
    job = page.locator("[data-format=json]").evaluate("link => link.href").split("/result")[0]
    (segments, sound) = (httpx.get(f"{job}/result").json()["segments"], httpx.get(f"{job}/audio"))
    assert sound.headers["content-type"] == "audio/wav"
    path = Path(talk).with_name("heard.wav")
    path.write_bytes(sound.content)
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE and likeness(samples, talk) > 0.9
    assert [each.start_s for each in emogram.analyze(path).segments] == [each["start_ms"] / 1000 for each in segments]
    assert page.inner_text("#result-title").startswith("recording ")


@needs_browser
def test_live_results_are_those_of_the_same_sound_as_a_file(open_page, talk):
    page = open_page()
    sent, told = [], []

    def watch(socket: Any) -> None:
        socket.on("framesent", lambda frame: sent.append(frame) if isinstance(frame, bytes) else None)
        socket.on("framereceived", lambda frame: told.append(json.loads(frame)))

    page.on("websocket", watch)
    page.click("#tab-live")
    page.click("#live-start")
    page.wait_for_selector("#live-log li", timeout=20_000)
    page.wait_for_function("() => Number(document.querySelector('#live-bars .value').dataset.score) > 0")
    page.wait_for_timeout(1500)
    page.click("#live-stop")
    page.wait_for_selector("#live-result", timeout=20_000)

    samples = np.frombuffer(b"".join(sent), "<i2")
    assert likeness(samples / np.float32(32768), talk) > 0.9
    path = talk.with_name("live.wav")
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    timeline = emogram.analyze(path)
    closed = told[-1]
    assert closed["type"] == "session.closed"
    assert closed["summary"]["shares"] == pytest.approx(timeline.summary["shares"], abs=1e-4)
    for name, share in timeline.summary["shares"].items():
        assert f"{share * 100:.0f} %" in page.locator("#live-result li", has_text=name).inner_text()
    ended = [each for each in told if each["type"] == "utterance.end"]
    shown = page.locator("#live-log li strong").all_inner_texts()
    assert len(shown) == len(ended)
    for words, each in zip(shown, ended, strict=True):
        assert words.startswith(
            "too little" if each["label"] is None else "unsure" if each["abstained"] else each["label"]
        )
    last = [each for each in told if each["type"] == "measurement.result"][-1]
    assert shown_scores(page, "#live-bars") == pytest.approx([each["score"] for each in last["scores"]])
    assert "microphone is off" in page.inner_text("#live-state")


def likeness(heard: np.ndarray, path: Path) -> float:
    """Return the largest correlation of what was heard with a stretch of a file, over all shifts."""
    known, _ = soundfile.read(path, dtype="float32")
    size = len(heard) + len(known)
    cross = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(known, size)), size)
    shift = int(cross.argmax())
    shift -= size if shift > size // 2 else 0
    first, last = max(0, shift), min(len(heard), shift + len(known))
    one, other = heard[first:last], known[first - shift : last - shift]
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


@needs_browser
def test_all_is_done_by_keyboard_from_loading_to_why(open_page, talk):
    page = open_page()
    # From here on the browser asks us which file: asked for only with the key, that may come too late.
    page.on("filechooser", lambda _: None)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(20):
        if page.evaluate("document.activeElement.id") == "file":
            break
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    with page.expect_file_chooser(timeout=60_000) as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(talk)
    page.wait_for_selector("#summary", timeout=60_000)
    assert page.evaluate("document.activeElement.id") == "result-title"
    page.keyboard.press("Shift+ArrowRight")  # keys of the tracks work wherever nothing else wants them
    label = page.inner_text("#moment-title").split(": ")[1]
    assert page.get_attribute("#tracks", "aria-valuetext").split(", ")[1] == label
    now = float(page.get_attribute("#tracks", "aria-valuenow"))
    for _ in range(10):
        if page.evaluate("document.activeElement.id") == "tracks":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert float(page.get_attribute("#tracks", "aria-valuenow")) > now
    plain = page.locator(".spectrogram").evaluate("canvas => canvas.toDataURL()")
    page.keyboard.press("w")
    page.wait_for_selector("#why-text .swatch", timeout=60_000)
    page.wait_for_function("before => document.querySelector('.spectrogram').toDataURL() !== before", arg=plain)
    page.keyboard.press("w")
    assert page.inner_text("#why-text") == ""
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Space")
    page.wait_for_function("() => document.querySelector('#play').textContent === 'Pause'")
    page.keyboard.press("Space")


@needs_browser
def test_what_is_no_sound_and_what_holds_no_speech_is_said_in_words(open_page, folder):
    page = open_page()
    text = folder / "letter.wav"
    text.write_text("Dear all, this is no sound.\n" * 100)
    page.set_input_files("#file", text)
    page.wait_for_selector("#alerts .alert")
    assert "not sound that can be read" in page.inner_text("#alerts")
    noise = folder / "hum.wav"
    soundfile.write(noise, 0.1 * np.sin(np.arange(3 * RATE) * 0.04), RATE)
    analysed(page, noise)
    assert page.locator("#alerts .alert").count() == 0
    assert page.inner_text("#summary-title") == "No speech found"
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#delete")
    page.wait_for_selector("#start", state="visible")
    page.wait_for_selector("#recent >> text=hum.wav", state="detached")


@needs_browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 1400), ("dark", 320)])
def test_it_is_accessible(open_page, link, scheme, width):
    page = open_page(link, color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    page.locator("#as-table summary").click()
    page.keyboard.press("Shift+ArrowRight")
    check_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#tab-live")
    check_accessible(page)
    page.click("#tab-recording")
    page.click("#another")
    page.click("#keys-button")
    check_accessible(page)
    page.keyboard.press("Escape")
    check_accessible(page)
    page.click("#card-link")
    page.wait_for_selector("body.card")
    check_accessible(page)


@needs_browser
def test_a_choice_of_colours_is_remembered_and_a_job_is_opened_again(open_page, link):
    page = open_page(link, color_scheme="light")
    summary = page.inner_text("#summary")
    page.click("#theme")
    page.click("#theme")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") == "rgb(16, 20, 29)"
    assert page.inner_text("#summary") == summary
    page.click("#another")
    page.locator("#recent .name", has_text="talk.wav").first.click()
    page.wait_for_selector("#summary")
    assert page.inner_text("#summary") == summary
    page.click("#play")  # the sound comes from the service now
    page.wait_for_function("() => Number(document.querySelector('#tracks').getAttribute('aria-valuenow')) > 0.2")


@needs_browser
def test_a_token_is_asked_for_and_a_service_that_is_gone_is_waited_for(browser, talk, folder):
    bundle = tiny_bundle(folder / "tiny")
    page = browser.new_context().new_page()
    with served(folder / "locked", "--model", bundle, EMOGRAM_TOKEN=TOKEN) as (url, process):
        page.goto(url)
        page.fill("#token-value", "wrong-token")
        page.keyboard.press("Enter")
        page.wait_for_function(
            "() => document.querySelector('#token').open && !document.querySelector('#token-value').value"
        )
        page.fill("#token-value", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("html[data-ready]")
        page.set_input_files("#file", talk)
        page.wait_for_selector("#summary", timeout=60_000)
        with page.expect_download() as waited:
            page.click("[data-format=csv]")
        assert waited.value.suggested_filename == "talk.csv"
        page.click("#play")  # an element cannot send a token; the page fetches the sound for it
        page.wait_for_function("() => Number(document.querySelector('#tracks').getAttribute('aria-valuenow')) > 0.1")
        page.click("#another")
        page.wait_for_selector("#start", state="visible")
        process.terminate()
        process.wait(timeout=40)
        page.set_input_files("#file", talk)
        page.wait_for_selector("#gone")
        assert "does not answer" in page.inner_text("#alerts")
    with served(folder / "locked", "--model", bundle, port=urlsplit(url).port, EMOGRAM_TOKEN=TOKEN):
        page.wait_for_selector("#gone", state="detached", timeout=20_000)
        page.wait_for_selector("#recent >> text=talk.wav")
    page.context.close()
