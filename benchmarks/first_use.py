"""The time from the command to the first film in the browser, by a script that clicks through the studio; screenshots.

    python benchmarks/first_use.py [--out benchmarks/results/first_use.md] [--shots FOLDER]

Needs Playwright and a Chromium (Debian's, or ``$CHROMIUM``). The cache is empty and no model is loaded.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from playwright.sync_api import Page, sync_playwright

PATIENCE = 180_000  # milliseconds
STEPS = (
    ("the studio is served", None),
    ("the page is there", "1-page"),
    ("an example is chosen", "2-example"),
    ("a film is rendered and can be played", "3-film"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="also write the table there")
    parser.add_argument("--shots", type=Path, default=Path("out/first-use"))
    options = parser.parse_args()
    options.shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        served = subprocess.Popen(
            [sys.executable, "-m", "gen.cli", "studio"],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"AFFEKT_CACHE": f"{place}/cache", "TMPDIR": place},
        )
        try:
            times = clicked(served, start, options.shots)
        finally:
            served.terminate()
            served.wait()
    rows = ["| since the command was given | seconds |", "|---|---|"]
    rows += [f"| {what} | {seconds:.1f} |" for (what, _), seconds in zip(STEPS, times, strict=True)]
    load = f"{psutil.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} in the last minute"
    text = "\n".join([*rows, "", f"A scene of 7 s at 384 pixels, empty cache; {load}."])
    print(text)
    if options.out:
        options.out.write_text(f"{text}\n", encoding="utf-8")


def clicked(served: subprocess.Popen, start: float, shots: Path) -> list[float]:
    """Seconds after which each step was done."""
    since = lambda: time.perf_counter() - start
    url = next(match[0] for line in served.stderr if (match := re.search(r"http://\S+", line)))
    times = [since()]
    with sync_playwright() as player:
        path = os.environ.get("CHROMIUM") or shutil.which("chromium")
        page = player.chromium.launch(executable_path=path, args=["--no-sandbox"]).new_page(
            viewport={"width": 1360, "height": 960}
        )
        page.set_default_timeout(PATIENCE)
        for step, (_, shot) in zip((opened, chosen, rendered), STEPS[1:]):
            step(page, url)
            times.append(since())
            page.wait_for_timeout(700)
            page.screenshot(path=shots / f"{shot}.png")
    return times


def opened(page: Page, url: str) -> None:
    page.goto(url)
    page.locator(".plane svg:visible").first.wait_for()


def chosen(page: Page, url: str) -> None:
    page.get_by_role("button", name="Try: happy @ 1.2").filter(visible=True).click()
    page.locator("[role=tabpanel]:visible img").first.wait_for()
    page.locator("[role=tabpanel]:visible canvas, [role=tabpanel]:visible .waveform-container").first.wait_for()


def rendered(page: Page, url: str) -> None:
    page.locator("#scene-render").click()
    page.wait_for_function("[...document.querySelectorAll('video')].some(one => one.offsetParent && one.duration > 1)")


if __name__ == "__main__":
    main()
