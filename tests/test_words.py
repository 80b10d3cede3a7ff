"""Checks for plain technical English: retired words do not return, and docstrings start with a noun or a verb."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RETIRED = (
    # people where nobody acts, archaic words
    "nobody",
    "nobody's",
    "anybody",
    "anybody's",
    "somebody",
    "somebody's",
    "whoever",
    "thereof",
    "in vain",
    "untold",
    r"vouch\w*",
    "manieth",
    "swung",
    "familiar",
    "strangers",
    "hush",
    r"mend(s|ed|ing)?",
    r"_spare",
    # relative clauses as nouns, idioms
    "goes without saying",
    "go without saying",
    "hangs on",
    "as it stands",
    "such as it (is|was)",
    "what of it",
    "of what is not there",
    "where there (is|are) none",
    "makes? of it",
    r"what (becomes|became) of",
    "told apart",
    r"goes? on (where|from)",
    "is there already",
    "tells? apart",
    "what is felt",
    "half-written",
    "no wish for",
    # one name for each meaning
    r"settle[sd]?",
    "wish",
    "findings",
    r"(?-i:Dial|Means|Strangers|Wishes)(?=\()",
    r"one's own",
    "ones own",
    "own emotions?",
    r"published (weights|models?|networks?|checkpoints?|files?)",
    "the release's",
)
WORDS = re.compile("|".join(rf"(?<![\w'-]){word}(?![\w'])" for word in RETIRED), re.IGNORECASE)
OPENING = re.compile(r'^\s*r?"""(What|Whether|Who|Whose|Whom|Which|Those who|Where|How) ')
ALLOWED = {  # file -> retired words that it needs: English input of the parser of emotions
    "gen/emotion/text.py": {"nobody", "wish"},
    "tests/gen/test_emotion_text.py": {"nobody", "anybody", "wish"},
    "apps/studio/main.py": {"settled"},  # an event of the panel
    "tests/apps/test_browser.py": {"settled"},
}


def lines():
    """(file, line number, text) of all tracked Python and Markdown files to check."""
    done = subprocess.run(["git", "ls-files", "*.py", "*.md"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    for name in done.stdout.split():
        if name != "tests/test_words.py" and (ROOT / name).is_file():
            for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), start=1):
                yield name, number, line


def test_retired_words_do_not_return():
    found = [
        f"{name}:{number}: {match[0]!r} in: {line.strip()}"
        for name, number, line in lines()
        for match in WORDS.finditer(line)
        if match[0].lower() not in ALLOWED.get(name, ())
    ]
    assert not found, "\n".join(found)


def test_docstrings_start_with_a_noun_or_a_verb():
    found = [f"{name}:{number}: {line.strip()}" for name, number, line in lines() if OPENING.match(line)]
    assert not found, "\n".join(found)
