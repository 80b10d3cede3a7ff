"""A studio that is really served, with the kind ``tone`` installed beside those that ship, and a browser."""

import os
import shutil
from pathlib import Path

import pytest
from tone_site import know_tone

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 60_000  # milliseconds: a busy machine is no mistake


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The page and its address."""
    pytest.importorskip("gradio")
    from apps.studio.main import launch

    folder = tmp_path_factory.mktemp("studio")
    with pytest.MonkeyPatch.context() as patch:
        know_tone(folder, patch)
        patch.setenv("AFFEKT_SIGNING", "off")
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "files"))
        page, url = launch(folder / "files", out=folder / "out", wait=False, device="cpu", largest="9mb")
        yield page, url
        page.close()


@pytest.fixture(scope="session")
def client(served):
    from gradio_client import Client

    return Client(served[1], verbose=False)


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium (or ``$CHROMIUM``), by Playwright; skips where either is not there."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as player:
        found = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser, served, request):
    """Opens the studio in a fresh profile; what the page reports as an error fails the test. Pictures of the pages go
    to ``$SCREENSHOTS``."""
    contexts, errors = [], []

    def opener(width=1366, height=768, scheme="light", tab="Portrait"):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
        view = contexts[-1].new_page()
        view.set_default_timeout(PATIENCE)
        view.on("pageerror", lambda error: errors.append(str(error)))
        view.on("console", lambda one: errors.append(one.text) if "Content Security" in one.text else None)
        view.goto(served[1], timeout=PATIENCE)
        ready(view, tab)
        return view

    yield opener
    for place, context in enumerate(contexts):
        if folder := os.environ.get("SCREENSHOTS"):
            context.pages[0].screenshot(path=Path(folder) / f"{request.node.name}-{place}.png", full_page=True)
        context.close()
    assert not errors


def ready(view, tab=None):
    """Wait until the page answers, and choose a tab."""
    view.locator("#emotion .plane svg").wait_for(state="attached")
    view.wait_for_load_state("networkidle")
    if tab:
        view.get_by_role("tab", name=tab, exact=True).click()
        chosen = "tab => document.querySelector('[role=tab][aria-selected=true]').innerText === tab"
        view.wait_for_function(chosen, arg=tab)
