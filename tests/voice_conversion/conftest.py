"""A tiny generator and a recording that several modules convert."""

import pytest
from speech import generator, voice


@pytest.fixture(scope="module")
def speaks():
    return generator()


@pytest.fixture(scope="module")
def recording():
    return voice(1.3)
