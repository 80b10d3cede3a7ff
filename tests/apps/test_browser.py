"""The studio in a real browser: each tab does its job, and a bad file shows its message.

Needs Playwright and a Chromium (Debian's ``chromium``, or ``$CHROMIUM``); pictures of the tabs go to ``$SCREENSHOTS``.
"""

import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]
PATIENCE = 90_000  # milliseconds: a busy machine is no mistake


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as player:
        found = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser, served, request):
    """The studio, ready; whatever the page reports as an error fails the test."""
    view, errors = browser.new_page(viewport={"width": 1280, "height": 1500}), []
    view.set_default_timeout(PATIENCE)
    view.on("pageerror", lambda error: errors.append(str(error)))
    view.goto(served[1])
    view.wait_for_selector(".plane svg", timeout=PATIENCE)
    view.wait_for_load_state("networkidle")
    view.get_by_role("tab", name="Music").click()
    view.locator(".plane svg:visible").first.wait_for()
    yield view
    if folder := os.environ.get("SCREENSHOTS"):
        view.screenshot(path=Path(folder) / f"{request.node.name}.png", full_page=True)
    view.close()
    assert not errors


def emotion(page) -> str:
    return page.get_by_label("Emotion").filter(visible=True).first.input_value()


def tells(page, text: str) -> None:
    """Wait until the emotion's text has this in it."""
    page.wait_for_function(
        "text => [...document.querySelectorAll('textarea, input')].some(e => e.offsetParent && e.value.includes(text))",
        arg=text,
    )


def test_picking_an_emotion(page):
    plane = page.locator(".plane svg:visible").first
    box = plane.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.75, steps=4)
    page.mouse.up()
    tells(page, "v=-0.57 a=-0.57")
    assert "slow, sparse" in page.locator(".reading:visible").first.inner_text()
    page.locator("[data-word=happy]:visible").first.click()
    tells(page, "happy")
    page.get_by_role("button", name="Add keyframe").first.click()
    tells(page, "bar 8: happy")
    page.locator("[data-word=sad]:visible").first.click()
    tells(page, "bar 8: sad")
    page.get_by_label("Emotion").filter(visible=True).first.fill("")
    page.get_by_label("Emotion").filter(visible=True).first.press_sequentially("0: calm, 4: hapy")
    page.wait_for_selector(".wrong:has-text('nearest terms are happy')")


def test_music_from_an_example(page):
    page.get_by_role("button", name="Try: happy @ 1.2").filter(visible=True).click()
    tells(page, "happy @ 1.2")
    page.get_by_label("number input for Bars").fill("1")
    page.locator("#music-render").click()
    page.wait_for_function("document.querySelector('#music-result textarea').value.includes('files')")
    page.wait_for_selector("text=Files to download")
    page.get_by_role("button", name="As a YAML job").first.click()
    page.get_by_role("button", name="Save as YAML job").first.click()
    page.locator("text=emotion: happy @ 1.2").filter(visible=True).first.wait_for()


def test_a_job_is_loaded(page, tmp_path):
    (tmp_path / "job.yaml").write_text("jobs: [{id: a, kind: music, emotion: '0: angry @ 0.8, 4: calm', bars: 9}]")
    page.get_by_role("button", name="As a YAML job").filter(visible=True).click()
    page.locator("[role=tabpanel]:visible input[type=file][accept*=yaml]").set_input_files(tmp_path / "job.yaml")
    tells(page, "bar 0: anger @ 0.8, bar 4: calm")
    assert page.get_by_label("number input for Bars").input_value() == "9"
    time = page.locator(".time svg:visible")
    box = time.bounding_box()
    page.mouse.dblclick(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.3)
    page.wait_for_function("document.querySelectorAll('[data-time]').length >= 3")
    page.locator("[data-word=happy]:visible").first.click()
    tells(page, ": happy")


def test_the_page_of_a_folder(browser, tmp_path):
    from apps.page import write
    from gen.jobs.cache import Cache
    from gen.jobs.plan import plan_tasks
    from gen.jobs.run import run
    from music.task import MusicTask

    tasks = {name: MusicTask(emotion=name, bars=1, candidates=1) for name in ("happy", "sad")}
    run(plan_tasks(tasks), tmp_path / "out", Cache(tmp_path / "cache"), lambda event: None, device="cpu")
    view = browser.new_page()
    view.goto(write(tmp_path / "out", "Two pieces").as_uri())
    first, second = view.locator("audio").all()
    first.evaluate("one => one.play()")
    second.evaluate("one => one.play()")
    view.wait_for_function("document.querySelectorAll('.playing').length === 1")
    assert first.evaluate("one => one.paused") and not second.evaluate("one => one.paused")
    second.focus()
    second.press("ArrowLeft")
    assert first.evaluate("one => one === document.activeElement")
    view.close()


def test_a_bad_file_shows_its_message(page, tmp_path):
    (tmp_path / "broken.txt").write_text("qwertz uiop")
    page.get_by_role("button", name="From a file").first.click()
    chooser = page.locator("[role=tabpanel]:visible input[type=file]:not([accept*=yaml])").first
    chooser.set_input_files(tmp_path / "broken.txt")
    page.wait_for_selector("text=no emotion word")
    assert str(tmp_path) not in page.locator("body").inner_text()


def test_explore(page):
    page.get_by_role("tab", name="Explore").click()
    page.locator("#explore-show").click()
    page.wait_for_function("document.querySelectorAll('.image-container img, .image-frame img').length >= 2")
    page.locator("#tone-strip").click()
    page.wait_for_function("document.querySelectorAll('.strip audio').length === 5")


def test_a_kind_that_is_installed(page):
    page.get_by_role("tab", name="Tone").click()
    page.locator("#tone-render").click()
    page.wait_for_function("document.querySelector('#tone-result textarea').value.includes('file')")


@pytest.mark.parametrize(
    ("kind", "title", "start"),
    [("voice", "Voice", "Try: sad"), ("talk", "Portrait", "Try: happy @ 1.3"), ("scene", "Scene", "Try: happy @ 1.2")],
)
def test_an_example_of_each_art(page, kind, title, start):
    page.get_by_role("tab", name=title).click()
    page.get_by_role("button", name=start).filter(visible=True).click()
    page.locator("[role=tabpanel]:visible .waveform-container, [role=tabpanel]:visible canvas").first.wait_for()
    page.wait_for_selector(".time:visible text:text-is('3 s')")  # the timeline is as long as the recording
    page.locator(f"#{kind}-render").click()
    page.wait_for_function(f"document.querySelector('#{kind}-result textarea').value.includes('made in')")
    if kind != "voice":
        page.wait_for_function(
            "[...document.querySelectorAll('video')].some(one => one.offsetParent && one.duration > 1)"
        )


def test_stop_in_the_middle(page):
    page.get_by_role("tab", name="Scene").click()
    page.get_by_role("button", name="Try: wistful").filter(visible=True).click()
    page.locator("[role=tabpanel]:visible img").first.wait_for()
    page.locator("#scene-render").click()
    page.wait_for_selector("text=left")
    page.locator("#scene-stop").click()
    page.wait_for_selector("text=nothing half-written is left")
