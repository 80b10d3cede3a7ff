"""Hook of MkDocs: model cards, benchmarks, source files and what is generated become pages; links work in both places.

A link in any page is written as on the disk, relative to the file that it stands in, so that it also works in the
repository. :func:`on_files` adds a page for each file outside ``docs/`` that is linked; :func:`on_page_markdown` turns
the links.
"""

import argparse
import json
import os
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
LINK = re.compile(r'(?P<open>\]\(|src="|href=")(?P<target>[^)"#\s]+)(?P<anchor>#[^)"\s]*)?(?P<close>[)"])')
MEDIA = {".webp", ".png", ".jpg", ".ogg", ".opus", ".mp4", ".webm", ".svg", ".html", ".css", ".js"}
FENCED = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
LANGUAGE = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".json": "json", ".cff": "yaml", ".md": "markdown"}


def uri(path: str) -> str:
    """The address in the site of a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path == "checkpoints/README.md":
        return "models/index.md"
    if match := re.fullmatch(r"checkpoints/([^/]+)/README\.md", path):
        return f"models/{match[1]}.md"
    if match := re.fullmatch(r"benchmarks/results/([^/]+)\.md", path):
        return f"benchmarks/{match[1]}.md"
    return f"files/{path}" if Path(path).suffix in MEDIA else f"source/{path}.md"


def origin(src: str) -> str:
    """The file that a page of the site comes from, as a path in the repository."""
    return ORIGINS.get(src, f"docs/{src}")


ORIGINS: dict[str, str] = {}


def text_of(path: str) -> str:
    """The Markdown of a page for a file of the repository."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if not uri(path).startswith("source/"):
        return text if "\n# " in text or text.startswith("# ") else f"# {Path(path).stem}\n\n{text}"
    kind = LANGUAGE.get(Path(path).suffix, "")
    return f"---\nsearch: {{exclude: true}}\n---\n# {path}\n\n~~~~{kind}\n{text}\n~~~~\n"


def targets(markdown: str, path: str) -> dict[str, str]:
    """Link in a page of the file ``path`` -> file of the repository that it leads to."""
    found = {}
    for match in LINK.finditer(FENCED.sub("", markdown)):
        target = match["target"]
        if not re.match(r"[a-z]+:", target):
            whole = os.path.normpath(os.path.join(os.path.dirname(path), target))
            found[target] = f"{whole}/README.md" if (ROOT / whole / "README.md").is_file() else whole
    return found


def on_files(files, config):
    made = {
        "reference/jobs.md": jobs,
        "reference/cli.md": cli,
        "reference/settings.md": settings,
        "benchmarks/index.md": benchmarks,
    }
    ORIGINS.clear()
    for src, make in made.items():
        page = files.get_file_from_path(src)
        head = page.content_string if page else ""
        if page:
            files.remove(page)
        files.append(File.generated(config, src, content=head + make()))
    cards = [ROOT / "checkpoints" / "README.md", *ROOT.glob("checkpoints/*/README.md")]
    waiting = [str(path.relative_to(ROOT)) for path in [*cards, *sorted(ROOT.glob("benchmarks/results/*.md"))]]
    for file in list(files):
        if file.is_documentation_page():
            waiting += targets(file.content_string, origin(file.src_uri)).values()
    while waiting:
        path = waiting.pop()
        src = uri(path)
        if path.startswith("docs/") or src in files.src_uris or not (ROOT / path).is_file():
            continue
        ORIGINS[src] = path
        if src.startswith("files/"):
            files.append(File.generated(config, src, abs_src_path=str(ROOT / path)))
            continue
        text = text_of(path)
        files.append(File.generated(config, src, content=text))
        if not src.startswith("source/"):
            waiting += targets(text, path).values()
    return files


def on_page_markdown(markdown, page, config, files):
    src = page.file.src_uri
    if src.startswith("source/"):
        return markdown
    known = targets(markdown, origin(src))

    def turned(match):
        path = known.get(match["target"])
        if path is None or uri(path) not in files.src_uris:
            return match[0]
        target = uri(path)
        if match["open"] != "](":  # HTML that MkDocs leaves alone
            target = files.get_file_from_path(target).url
        here = os.path.relpath(target, os.path.dirname(src) or ".")
        return f"{match['open']}{here}{match['anchor'] or ''}{match['close']}"

    parts, last = [], 0
    for fence in FENCED.finditer(markdown):
        parts += [LINK.sub(turned, markdown[last : fence.start()]), fence[0]]
        last = fence.end()
    return "".join([*parts, LINK.sub(turned, markdown[last:])])


def on_page_content(html, page, config, files):
    """Docstrings name objects with Sphinx's roles: the name alone remains."""
    return re.sub(r":(?:class|func|meth|mod|data|attr):<code>~?", "<code>", html)


# ---------------------------------------------------------------- generated pages


def cell(text) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def jobs() -> str:
    """Fields of every kind of job, from the JSON Schema."""
    from gen.jobs.jsonschema import schema

    kinds = {name: rule for name, rule in schema()["$defs"].items() if "matrix" in rule.get("properties", {})}
    parts = []
    for kind, rule in kinds.items():
        rows = ["| field | what | values | default |", "|---|---|---|---|"]
        for name, field in rule["properties"].items():
            if name not in ("kind", "matrix", "id", "out"):
                default = f"`{json.dumps(field['default'])}`" if "default" in field else ""
                rows.append(f"| `{name}` | {cell(field.get('description', ''))} | {cell(values(field))} | {default} |")
        parts.append(f"\n## `{kind}`\n\n{rule['description']}\n\n" + "\n".join(rows) + "\n")
    return "".join(parts)


def values(rule: dict) -> str:
    """The values of a field, in words."""
    if "anyOf" in rule:
        return ", or ".join(dict.fromkeys(filter(None, map(values, rule["anyOf"]))))
    if "$ref" in rule:
        return {
            "curve": "[emotion](emotion.md)",
            "emotion": "[emotion](emotion.md)",
            "job": "`{job: ID}`",
            "file": "file, or `{job: ID}`",
        }[rule["$ref"].split("/")[-1]]
    if "enum" in rule:
        return " ".join(f"`{one}`" for one in rule["enum"])
    if rule.get("type") == "array":
        return f"list of {values(rule['items'])}" if "items" in rule else "list"
    if rule.get("type") == "object":
        return "table: `{csv: FILE}`" if "csv" in rule.get("properties", {}) else "mapping"
    kind = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` `false`"}
    signs = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    limits = " ".join(f"{sign} {rule[name]:g}" for name, sign in signs if name in rule)
    return f"{kind.get(rule.get('type'), '')} {limits}".strip()


def cli() -> str:
    """``--help`` of every command."""
    from gen.cli import build_parser

    os.environ["COLUMNS"] = "110"
    return "".join(commands(build_parser((), whole=True), "affekt", 2))


def commands(parser: argparse.ArgumentParser, name: str, level: int):
    for action in parser._subparsers._group_actions if parser._subparsers else ():
        for command, below in action.choices.items():
            title = f"{name} {command}"
            yield f"\n{'#' * min(level, 3)} `{title}`\n\n```text\n{below.format_help()}```\n"
            yield from commands(below, title, level + 1)


def settings() -> str:
    """Settings of every trainer and evaluator (``--set``)."""
    from gen import registry
    from gen.settings import settings_class

    parts = []
    for part, verb in (("trainer", "train"), ("evaluator", "evaluate")):
        for name in registry.names(part):
            cls = settings_class(registry.get(part, name))
            fields = getattr(cls, "model_fields", None)
            defaults = getattr(cls, "_field_defaults", {})
            rows = []
            for field in fields or getattr(cls, "_fields", ()):
                if fields:
                    rule = fields[field]
                    usual = "needed" if rule.is_required() else f"`{rule.default}`"
                    rows.append((field, cell(rule.description or ""), usual))
                else:
                    rows.append((field, "", f"`{defaults[field]}`" if field in defaults else "needed"))
            if rows:
                table = "\n".join(f"| `{field}` | {what} | {cell(usual)} |" for field, what, usual in rows)
                parts.append(f"\n### `affekt {verb} {name}`\n\n| setting | what | default |\n|---|---|---|\n{table}\n")
    return "".join(parts)


def benchmarks() -> str:
    """A list of the tables in ``benchmarks/results``."""
    lines = ["# Benchmarks", "", "Each page is a table in `benchmarks/results`, made by the command that it names.", ""]
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.md")):
        title = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.M)
        lines.append(f"- [{title[1] if title else path.stem}]({path.stem}.md)")
    tables = sorted((ROOT / "benchmarks" / "results").glob("*.csv"))
    return "\n".join([*lines, "", "As CSV: " + ", ".join(f"`benchmarks/results/{path.name}`" for path in tables), ""])
