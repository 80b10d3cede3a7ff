"""The studio in a real browser: what is on the screen is what is rendered, files are checked when they arrive, a film
lies beside the dial, and nothing is lost by a reload. Needs Playwright and a Chromium."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gradio")
pytest.importorskip("playwright.sync_api")

from conftest import ready
from PIL import Image

from gen import media

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = 8000
LONG = 200_000  # milliseconds that a film may take


def text(view) -> str:
    """The emotion, in words."""
    return view.locator("#words").input_value()


def says(view, wanted: str) -> None:
    """Wait until the emotion's text is this."""
    view.wait_for_function("wanted => document.querySelector('#words').value === wanted", arg=wanted)


def settled(view) -> None:
    """Wait until Python has read what was asked for."""
    view.wait_for_timeout(400)
    view.wait_for_load_state("networkidle")


def tune(view) -> None:
    view.locator("summary", has_text="Fine-tune").click()


def give(view, where: str, path: Path):
    """Upload into a control, and wait for its word on it."""
    if (old := view.locator(f"#{where} [data-do=remove]")).is_visible():
        old.click()
    view.locator(f"#{where} input[type=file]").set_input_files(path)
    view.wait_for_function(
        "where => { const one = document.querySelector(`#${where} .intake`);"
        " return !one.querySelector('.held').hidden || one.querySelector('.says.bad'); }",
        arg=where,
    )


def load(view, path: Path) -> None:
    """Load a job file into the tab that is shown."""
    with view.expect_file_chooser() as chooser:
        view.get_by_role("button", name="Load job").filter(visible=True).click()
    chooser.value.set_files(path)


def rendered(view) -> dict:
    """The task of the last result that the page shows, by its manifest."""
    link = view.locator("#stage .main .files a").first
    return json.loads(view.request.get(f"{link.evaluate('a => a.href')}.json").text())["task"]


def count(view) -> int:
    """The number of listed results."""
    return max(view.locator("#stage .history li").count(), view.locator("#stage .main").count())


def tone(view) -> None:
    """Render the tests' own kind, and wait for the result."""
    before = count(view)
    view.locator("#tone-render").click()
    more = (
        "before => before ? document.querySelectorAll('#stage .history li').length > before"
        " : document.querySelector('#stage .main audio')"
    )
    view.wait_for_function(more, arg=before)
    view.locator("#tone-render:not(:disabled)").wait_for()


def pieces(view, pause: float, seed: int = 0, many: int = 9) -> None:
    """Let the tests' own kind take its time."""
    view.get_by_role("button", name="More options").filter(visible=True).click()
    view.get_by_label("number input for Count").fill(str(many))
    if seed:
        view.get_by_label("Take number").filter(visible=True).first.fill(str(seed))
    view.get_by_label("Pause").filter(visible=True).first.fill(str(pause))
    settled(view)


@pytest.fixture
def wav(tmp_path):
    def write(name="voice.wav", seconds=2.0, loud=0.3):
        samples = (loud * np.sin(np.arange(round(seconds * RATE)) / 5)).astype(np.float32)
        media.write_audio(tmp_path / name, samples, RATE)
        return tmp_path / name

    return write


# ------------------------------------------------------------ 1 to 4: one state


def test_a_typed_intensity_is_rendered_without_leaving_the_box(opened):
    view = opened(tab="Tone")
    view.locator("[data-chip=sad]").click()
    view.locator("#amount").fill("0.6")
    view.locator("#amount").press("Enter")
    tone(view)
    key = rendered(view)["emotion"]["keyframes"][0]["emotion"]
    assert key["intensity"] == 0.6 and key["mix"] == [["sad", 1.0]]


def test_arrow_keys_move_the_emotion(opened):
    view = opened()
    view.locator("[data-chip=sad]").click()
    view.locator("#dial").focus()
    for _ in range(4):
        view.keyboard.press("ArrowLeft")
    assert text(view) == "sad @ 0.8" and view.locator("#amount").input_value() == "0.8"
    settled(view)
    tune(view)
    view.locator("[data-mix=happy]").focus()
    for _ in range(5):
        view.keyboard.press("ArrowRight")
    assert "happy 0.25" in text(view)
    plane = view.locator("[data-plane]")
    plane.focus()
    settled(view)
    where = "axis => Number(document.querySelector('.plane .own').getAttribute(axis))"
    x, y = view.evaluate(where, "cx"), view.evaluate(where, "cy")
    view.keyboard.press("ArrowRight")
    view.keyboard.press("ArrowUp")
    view.wait_for_function("document.querySelector('#words').value.startsWith('v=')")
    assert view.evaluate(where, "cx") > x and view.evaluate(where, "cy") < y


def test_pasted_text_counts_as_typed(opened):
    view = opened()
    view.locator("[data-chip=fear]").click()
    settled(view)
    view.locator("#words").evaluate(  # as a paste, a phone's keyboard and dictation do
        "box => { box.focus(); box.value = 'tender'; box.dispatchEvent(new InputEvent('input', { bubbles: true })); }"
    )
    view.locator("#dial").focus()
    view.keyboard.press("ArrowRight")
    says(view, "tender @ 1.05")
    settled(view)
    assert text(view) == "tender @ 1.05"
    assert view.locator("[data-chip=tender]").get_attribute("aria-pressed") == "true"


def test_every_control_shows_the_same_emotion(opened):
    view = opened()
    view.locator("[data-chip=sad]").click()
    view.locator("#amount").fill("9")
    view.locator("#wrong", has_text="Intensity goes from 0 to 2.").wait_for()
    assert (view.locator("#amount").input_value(), view.locator("#dial").input_value()) == ("2", "2")
    assert text(view) == "sad @ 2"
    view.locator("#amount").select_text()
    view.keyboard.type("0.3")
    assert view.locator("#amount").input_value() == "0.3" and text(view) == "sad @ 0.3"
    tune(view)
    assert view.locator("#pick").input_value() == "sad"
    view.locator("#words").fill("v=0.6 a=-0.3")
    settled(view)
    assert view.locator("#pick").input_value() == ""
    mix = [float(view.locator(f"[data-mix={name}]").input_value()) for name in ("happy", "neutral")]
    assert sum(mix) > 0.3  # a mix starts from the point
    for tab in ("Music", "Research", "Tone"):
        view.get_by_role("tab", name=tab, exact=True).click()
        settled(view)
        assert text(view) == "v=0.6 a=-0.3"


def test_the_plane_the_words_and_the_timeline(opened):
    view = opened(tab="Music", height=1200)
    tune(view)
    box = view.locator(".plane svg").bounding_box()
    view.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    view.mouse.down()
    view.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.75, steps=4)
    view.mouse.up()
    says(view, "v=-0.57 a=-0.57")
    view.locator(".reading", has_text="slow, sparse").wait_for()
    view.locator("[data-word=happy]").click()
    says(view, "happy")
    view.locator("#add").click()
    says(view, "0: happy, 4: happy")  # halfway to the end, which is bar 8
    view.locator("[data-word=sad]").click()
    says(view, "0: happy, 4: sad")
    view.get_by_role("tab", name="Voice", exact=True).click()
    says(view, "0: happy, 3: sad")  # the same shape over the recording
    handle = view.locator("[data-time='1']")
    handle.focus()
    view.keyboard.press("ArrowLeft")
    says(view, "0: happy, 2.85: sad")
    view.get_by_label("Time of keyframe 2").fill("1.5")
    view.get_by_label("Time of keyframe 2").press("Enter")
    says(view, "0: happy, 1.5: sad")
    view.get_by_label("Remove keyframe 2").click()
    says(view, "happy")


# ------------------------------------------------------------ 5, 12: mistakes are sentences


def test_mistakes_are_sentences(opened, tmp_path):
    view = opened()
    empty = view.get_by_text("Add a portrait and a recording first.")
    view.locator("#talk-render").click()
    empty.wait_for()
    view.locator(".toast-close").first.click()
    empty.wait_for(state="detached")
    view.get_by_role("button", name="Settings as a file").click()
    view.get_by_role("button", name="Save as YAML job").filter(visible=True).click()
    empty.wait_for()
    (tmp_path / "job.yaml").write_text("jobs: [{id: a, kind: talk, portrait: x.jpg, audio: a.wav, emoton: sad}]")
    load(view, tmp_path / "job.yaml")
    view.get_by_text("the nearest are emotion").wait_for()
    for wrong, sentence in (
        ("sadd", "'sadd' is not an emotion I know. Did you mean"),
        ("sad @ 9", "Intensity goes from 0 to 2."),
        ("0: sad, 0: happy", "Each keyframe needs a later time than the one before."),
    ):
        view.locator("#words").fill(wrong)
        view.locator("#wrong", has_text=sentence).wait_for()


# ------------------------------------------------------------ 6, 7, 14, 15: files are checked when they arrive


def test_pictures_are_checked_at_upload(opened, tmp_path):
    view = opened()
    (tmp_path / "letter.jpg").write_text("this is no picture")
    give(view, "portrait", tmp_path / "letter.jpg")
    said = view.locator("#portrait .says").inner_text()
    assert said == "letter.jpg is not a readable picture: give PNG or JPEG"
    Image.new("RGB", (12000, 400)).save(tmp_path / "wide.jpg")
    give(view, "portrait", tmp_path / "wide.jpg")
    view.get_by_text("The picture was reduced from 12000 x 400 to 4096 x 137 pixels.").wait_for()
    view.get_by_text("No face found. Use a photo with the face seen from the front.").wait_for()


def test_heic_is_read(opened, tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    Image.open(EXAMPLES / "grace_hopper.jpg").save(tmp_path / "phone.heic")
    view = opened()
    give(view, "portrait", tmp_path / "phone.heic")
    view.wait_for_function("(document.querySelector('#portrait img') || {}).naturalWidth > 100")


def test_a_face_on_its_side_is_turned_and_silence_is_said(opened, tmp_path, wav):
    Image.open(EXAMPLES / "grace_hopper.jpg").rotate(90, expand=True).save(tmp_path / "lying.jpg")
    view = opened()
    give(view, "portrait", tmp_path / "lying.jpg")
    view.get_by_text("The face lay on its side: the picture was turned.").wait_for()
    view.wait_for_function("(one => one.naturalHeight > one.naturalWidth)(document.querySelector('#portrait img'))")
    give(view, "recording", wav("silence.wav", loud=0.0))
    view.get_by_text("This recording is silent: the mouth stays closed.").wait_for()


def test_films_are_taken_as_sound_and_as_portrait(opened, tmp_path):
    frames = [np.full((64, 64, 3), 90, np.uint8)] * 50
    sound = (0.3 * np.sin(np.arange(32000) / 9)).astype(np.float32)
    for name in ("film.mp4", "film.mov"):
        media.write_video(tmp_path / name, iter(frames), 25, sound, 16000)
    view = opened()
    for name in ("film.mp4", "film.mov"):
        for where in ("portrait", "recording"):
            give(view, where, tmp_path / name)
            assert not view.locator(f"#{where} .says.bad").count()
            assert view.locator(f"#{where} .name").inner_text() == name
    assert view.locator("#portrait video").count() == 1


def test_a_new_keyframe_lands_halfway_to_the_end(opened, wav):
    view = opened()
    give(view, "recording", wav(seconds=4.0))
    settled(view)
    tune(view)
    view.locator("[data-chip=sad]").click()
    view.locator("#add").click()
    says(view, "0: sad, 2: sad")


# ------------------------------------------------------------ 8: the layout


@pytest.mark.parametrize("tab", ["Scene", "Portrait", "Voice", "Music"])
def test_render_is_in_view_and_nothing_scrolls_sideways(opened, tab):
    view = opened(tab=tab)
    wide = "document.documentElement.scrollWidth - innerWidth"
    inside = """(() => { const shown = [...document.querySelectorAll('.bar button.primary')],
        box = shown.find((one) => one.getClientRects().length).getBoundingClientRect();
        return box.height > 20 && box.top >= 0 && box.bottom <= innerHeight && box.right <= innerWidth; })()"""
    tune(view)
    for width in (1366, 860, 390):
        view.set_viewport_size({"width": width, "height": 768})
        for scroll in (0, 400, 5000):
            view.evaluate(f"window.scrollTo(0, {scroll})")
            assert view.evaluate(inside), (width, scroll)
        assert view.evaluate(wide) <= 0, width
        if width == 860:  # two columns, side by side
            left, right = (view.locator(place).bounding_box() for place in (".make", ".out"))
            assert left["x"] + left["width"] <= right["x"]


# ------------------------------------------------------------ 9 to 11: results, progress, stop


def test_a_reload_loses_nothing(opened, wav):
    view = opened(tab="Voice")
    give(view, "recording", wav("speech.wav"))
    view.get_by_role("tab", name="Tone", exact=True).click()
    view.locator("[data-chip=fear]").click()
    view.locator("#amount").fill("0.7")
    tone(view)
    view.locator("[data-chip=calm]").click()
    tone(view)
    assert count(view) == 2
    pieces(view, pause=0.6)
    view.locator("#tone-render").click()
    view.locator("progress").wait_for()
    view.reload()
    ready(view)
    says(view, "calm @ 0.7")
    view.wait_for_function("document.querySelectorAll('#stage .history li').length === 3")  # it went on
    assert view.evaluate("document.body.dataset.kind") == "tone"
    view.get_by_role("tab", name="Voice", exact=True).click()
    assert view.locator("#recording .name").inner_text() == "speech.wav"
    view.locator("#stage .history button").last.click()
    view.get_by_role("button", name="Use these settings").click()
    says(view, "fear @ 0.7")
    view.get_by_label("Compare with").select_option(index=1)
    assert view.locator("#stage figure").count() == 2


def test_progress_only_rises_and_estimates_late(opened):
    view = opened(tab="Tone")
    pieces(view, pause=1, seed=31)
    view.evaluate("""() => { window.seen = [];
        const note = () => { const bar = document.querySelector('progress');
            if (bar) window.seen.push([bar.value || 0, document.querySelector('.progress span').innerText]); };
        const all = { childList: true, subtree: true, characterData: true, attributes: true };
        new MutationObserver(note).observe(document.querySelector('#told'), all); }""")
    tone(view)
    seen = view.evaluate("window.seen")
    shares = [share for share, _ in seen]
    assert len(seen) > 4 and shares == sorted(shares)
    assert all("left" not in told for share, told in seen if share < 0.2)
    left = [int(found[1]) for _, told in seen if (found := re.search(r"about (\d+) s left", told))]
    assert left and left == sorted(left, reverse=True)


def test_stop_is_neutral_and_disabled_when_idle(opened):
    view = opened(tab="Tone")
    assert view.locator("#stop").is_disabled() and "stop" not in view.locator("#stop").get_attribute("class").split()
    pieces(view, pause=1, seed=77)
    view.locator("#tone-render").click()
    view.locator("#stop:not(:disabled)").click()
    view.locator("#told", has_text="Stopped. Press Render to start again.").wait_for()
    assert view.locator("#stop").is_disabled() and view.locator("#tone-render").is_enabled()
    assert view.get_by_text("Error", exact=True).count() == 0


def test_the_queue_says_who_is_before(opened):
    first, second = opened(tab="Tone"), opened(tab="Tone")
    for view, pause in ((first, 1), (second, 0)):
        pieces(view, pause, seed=78)
        view.locator("#tone-render").click()
        view.locator("progress").wait_for()
    second.locator("#told", has_text="waiting for 1 other rendering").wait_for()
    first.locator("#stop:not(:disabled)").click()
    second.locator("#stage .main audio").wait_for()


# ------------------------------------------------------------ what the studio offers


def test_a_job_is_saved_and_loaded(opened, tmp_path):
    view = opened(tab="Music")
    (tmp_path / "job.yaml").write_text("jobs: [{id: a, kind: music, emotion: '0: angry @ 0.8, 4: calm', bars: 9}]")
    view.get_by_role("button", name="Settings as a file").click()
    load(view, tmp_path / "job.yaml")
    view.wait_for_function("document.querySelector('#words').value.includes('anger @ 0.8')")
    assert view.get_by_label("number input for Length").input_value() == "9"
    view.get_by_role("button", name="Save as YAML job").filter(visible=True).click()
    view.get_by_text("bars: 9").first.wait_for()


def test_an_example_shows_a_ready_result(opened):
    view = opened()
    for tab, player in (("Scene", "video"), ("Voice", "audio"), ("Portrait", "video"), ("Music", "audio")):
        view.get_by_role("tab", name=tab, exact=True).click()
        view.locator("[data-card]:visible").first.click()
        view.locator(f"#stage .main {player}").wait_for()
        view.wait_for_function(f"document.querySelector('#stage .main {player}').duration > 1")
        assert view.locator("#stage .main figcaption b").inner_text() == text(view)


def test_before_and_after_by_one_switch(opened):
    view = opened(tab="Voice")
    view.locator("[data-card]:visible").first.click()
    switch, sound = view.get_by_role("switch"), view.locator("#stage .main audio")
    sound.wait_for()
    after = sound.get_attribute("src")
    switch.click()
    assert switch.get_attribute("aria-checked") == "false" and sound.get_attribute("src") != after
    switch.press("Enter")
    assert sound.get_attribute("src") == after


def test_fields_of_other_models_are_hidden(opened):
    view = opened(tab="Portrait")
    view.get_by_role("button", name="Expert").filter(visible=True).click()
    assert view.get_by_label("Sampling steps").filter(visible=True).count() == 0
    view.get_by_label("Model").filter(visible=True).first.click()
    view.get_by_role("option", name="dice-compact").click()
    view.get_by_label("Sampling steps").filter(visible=True).first.wait_for()


def test_the_tab_for_researchers(opened):
    view = opened(tab="Research")
    view.locator("#explore-show").click()
    view.get_by_alt_text("Among 400 words, by valence and arousal").wait_for()
    view.get_by_label("Render the settings of").click()
    view.get_by_role("option", name="Tone").click()
    view.locator("#strip").click()
    view.wait_for_function("document.querySelectorAll('.strip audio').length === 5")


@pytest.mark.parametrize(("tab", "kind"), [("Portrait", "talk"), ("Scene", "scene"), ("Voice", "voice")])
def test_each_art_is_rendered_from_an_example(opened, tab, kind):
    view = opened(tab=tab)
    view.locator("[data-card]:visible").first.click()
    view.locator("#recording .name").wait_for()
    settled(view)
    view.locator("#amount").fill("0.9")
    view.locator("#amount").press("Enter")
    if kind != "voice":
        view.locator("#preview img").wait_for(timeout=LONG)
        view.get_by_role("button", name="More options").filter(visible=True).click()
        view.get_by_label("Picture size").filter(visible=True).first.fill("256")
    view.locator(f"#{kind}-render").click()
    name = "line-" if kind == "voice" else "grace_hopper-"  # files are called after what they are made from
    view.locator("#stage .main .files a", has_text=name).first.wait_for(timeout=LONG)
    if kind == "scene":  # its parts, one at a time
        view.locator(".parts summary").click()
        view.get_by_role("button", name="Another piano").click()
        view.locator("#stage .history li").nth(1).wait_for(timeout=LONG)
        task = rendered(view)
        assert task["music_seed"] == 1 and task["voice_seed"] is None
        view.locator(".parts summary").click()
        view.get_by_role("button", name="Keep this piano").click()
        view.locator("#told", has_text="The piano is kept").wait_for()
        assert view.locator("#scene-music .name").inner_text().endswith(".mid")


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
