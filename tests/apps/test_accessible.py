"""The studio for everybody: axe-core finds nothing serious in any tab, narrow or wide, by day or by night, and a curve
can be drawn without a mouse. axe-core comes from ``npm install --prefix tests/foreign`` (MPL-2.0, not kept here)."""

import pytest

pytest.importorskip("gradio")
pytest.importorskip("playwright.sync_api")

from node import FOREIGN

AXE = FOREIGN / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not AXE.is_file(), reason="axe-core: npm install --prefix tests/foreign"),
]
OPEN = """() => { for (const one of document.querySelectorAll('.label-wrap:not(.open)'))
    if (one.offsetParent) one.click(); }"""
TABS = ("Scene", "Portrait", "Voice", "Music", "Research")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1366, 390])
def test_nothing_serious_is_found(opened, scheme, width):
    view = opened(width, 844, scheme, "Scene")
    assert view.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    view.locator("[data-card]:visible").first.click()
    view.locator("#stage .main").wait_for()
    view.locator("summary", has_text="Fine-tune").click()
    view.locator("#add").click()
    view.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    found = []
    for tab in TABS:
        if not (button := view.get_by_role("tab", name=tab, exact=True)).is_visible():
            view.locator(".overflow-menu > button").click()
            button = view.locator(".overflow-dropdown button", has_text=tab)
        button.click()
        view.wait_for_timeout(500)
        view.evaluate(OPEN)
        for one in view.evaluate("axe.run(document).then((done) => done.violations)"):
            if one["impact"] in ("serious", "critical"):
                found += [f"{tab}: {one['id']}: {node['html'][:200]}" for node in one["nodes"]]
    assert not found, "\n".join(found)
