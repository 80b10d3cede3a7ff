"""A served studio with the kind ``tone`` installed."""

import pytest
from tone_site import know_tone


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The page and its URL."""
    pytest.importorskip("gradio")
    from apps.studio import launch

    folder = tmp_path_factory.mktemp("studio")
    with pytest.MonkeyPatch.context() as patch:
        know_tone(folder, patch)
        patch.setenv("AFFEKT_SIGNING", "off")
        page, url = launch(folder / "files", wait=False, device="cpu", largest="1mb")
        yield page, url
        page.close()


@pytest.fixture(scope="session")
def client(served):
    from gradio_client import Client

    return Client(served[1], verbose=False)
