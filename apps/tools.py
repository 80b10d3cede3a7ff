"""Tools for AI assistants (Model Context Protocol): one per kind that can be rendered, ``describe`` and ``stop``.

A result is JSON with links, and content that an assistant can view or listen to: a picture, a short sound. Input files
are ``data:`` URLs, links from earlier results, paths returned by an upload, or files in folders given at start.
"""

import base64
import binascii
import json
import mimetypes
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import anyio
from mcp import types
from mcp.server.lowlevel import Server

import gen
from apps.studio.files import uploads
from apps.studio.words import without_folders
from apps.studio.work import PICTURE, Renderer, Result, Stopped
from gen import media
from gen.emotion.describe import describe
from gen.emotion.spec import EmotionCurve
from gen.errors import AffektError, InputError
from gen.jobs.schema import Task, parse_task, task_class, with_paths

ROUTE = "/gradio_api/file="
SESSION = "assistants"  # one shared session, since each call of a stateless protocol has its own
HEARD = 30.0  # maximum seconds of sound in a result; the link has the whole
SIDE = 512  # pixels of a picture in a result
FILE = "; a link from an earlier result, a data: URL of up to 3 MB, or a path returned by an upload to {upload}"
ABOUT = (
    "Renders emotional speech, talking portraits, piano music and films of all three. An emotion is a word, a mix "
    '("happy 0.7 + surprise 0.3 @ 1.2"), a point ("v=0.6 a=-0.3") or a curve ("0: sad, 4: happy").'
)


def server(renderer: Renderer, kinds: Sequence[str], folders: Sequence[Path] = ()) -> Server:
    """The MCP server. Local files are opened only below ``folders``."""
    made = Server("affekt", version=gen.__version__, instructions=ABOUT)

    @made.list_tools()
    async def tools() -> list[types.Tool]:
        upload = f"{address(made)}/gradio_api/upload"
        return [
            *(types.Tool(name=kind, description=summary_of(kind), inputSchema=fields(kind, upload)) for kind in kinds),
            types.Tool(
                name="describe",
                description="Explains an emotion, a mix, a point or a curve, as JSON.",
                inputSchema={"type": "object", "required": ["emotion"], "properties": {"emotion": {"type": "string"}}},
            ),
            types.Tool(
                name="stop",
                description="Stops the running render of an assistant.",
                inputSchema={"type": "object", "properties": {}},
            ),
        ]

    @made.call_tool()
    async def call(name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        try:
            if name == "stop":
                renderer.halt(SESSION)
                return answer({"stopped": True})
            if name == "describe":
                return answer(describe(EmotionCurve.parse(arguments["emotion"])))
            if name not in kinds:
                raise InputError(f"no tool {name!r}: use {', '.join(kinds)}, describe and stop")
            task = asked(name, arguments, folders)
            done = await anyio.to_thread.run_sync(partial(rendered, renderer, task, teller(made)))
            return await anyio.to_thread.run_sync(partial(shown, done, address(made)))
        except AffektError as error:
            text = types.TextContent(type="text", text=without_folders(str(error)))
            return types.CallToolResult(content=[text], isError=True)

    return made


def summary_of(kind: str) -> str:
    return " ".join((task_class(kind).__doc__ or "").split("\n\n")[0].split())


def fields(kind: str, upload: str) -> dict:
    """The JSON Schema of a tool's arguments: the fields of a task."""
    cls = task_class(kind)
    whole = cls.model_json_schema()
    properties = {}
    for name, field in cls.model_fields.items():
        if name == "kind":
            continue
        holds = {field.annotation, *get_args(field.annotation)}
        rule = {key: value for key, value in whole["properties"][field.alias or name].items() if key != "title"}
        if holds & {Path, EmotionCurve}:
            more = FILE.format(upload=upload) if Path in holds else ""
            rule = {"type": "string", "description": f"{field.description or name}{more}"}
        properties[field.alias or name] = rule
    needed = [field.alias or name for name, field in cls.model_fields.items() if field.is_required()]
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}


# ---------------------------------------------------------------- in


def asked(kind: str, arguments: dict[str, Any], folders: Sequence[Path]) -> Task:
    """The task for a tool's arguments. Raises ``InputError``."""
    given = {name: value for name, value in arguments.items() if value is not None and value != ""}
    for name, field in task_class(kind).model_fields.items():
        alias = field.alias or name
        if Path in (field.annotation, *get_args(field.annotation)) and isinstance(given.get(alias), str):
            given[alias] = str(opened(given[alias], folders))
    return with_paths(parse_task({"kind": kind, **given}), Path.absolute)


def opened(given: str, folders: Sequence[Path]) -> Path:
    """The file of a URL or a path. Raises ``InputError`` if it may not be opened."""
    if given.startswith("data:"):
        return saved(given)
    if given.startswith(("http://", "https://")):
        _, found, name = urlsplit(given).path.partition(ROUTE)
        given = unquote(name) if found else ""
    path = Path(given).resolve()
    if path.is_file() and any(path.is_relative_to(place.resolve()) for place in (uploads(), *folders)):
        return path
    ways = "a data: URL, a link from an earlier result, a path returned by an upload"
    raise InputError(f"this file is not accessible or does not exist: give {ways}, or start with --files FOLDER")


def saved(given: str) -> Path:
    """Writes the content of a ``data:`` URL to a file."""
    head, _, body = given.partition(",")
    kind = head.removeprefix("data:").split(";")[0]
    try:
        content = base64.b64decode(body, validate=True) if head.endswith(";base64") else unquote(body).encode()
    except binascii.Error:
        raise InputError("the data: URL is not valid base64") from None
    path = uploads() / f"{uuid4().hex}{mimetypes.guess_extension(kind) or '.bin'}"
    path.write_bytes(content)
    return path


# ---------------------------------------------------------------- out


def rendered(renderer: Renderer, task: Task, tell) -> Result:
    try:
        return renderer.render(task, SESSION, tell)
    except Stopped:
        raise InputError("Stopped.") from None


def teller(made: Server):
    """A callback that reports progress to the client if requested; called from the rendering thread."""
    context = made.request_context
    token = context.meta.progressToken if context.meta else None

    def tell(done: float, text: str) -> None:
        if token is not None:
            send = partial(context.session.send_progress_notification, related_request_id=str(context.request_id))
            anyio.from_thread.run(send, token, done, 1.0, text)

    return tell


def address(made: Server) -> str:
    """The URL of this server as the client reaches it."""
    request = made.request_context.request
    return "" if request is None else str(request.base_url).rstrip("/").removesuffix("/gradio_api/mcp")


def answer(facts: dict, more: Sequence = ()) -> types.CallToolResult:
    text = types.TextContent(type="text", text=json.dumps(facts, ensure_ascii=False))
    return types.CallToolResult(content=[text, *more], structuredContent=facts)


def shown(done: Result, base: str) -> types.CallToolResult:
    """Summary, links and manifest as JSON; the files as links; and a picture or a sound."""
    links = [
        types.ResourceLink(
            type="resource_link",
            name=path.name,
            uri=f"{base}{ROUTE}{quote(str(path))}",
            mimeType=kind_of(path),
            size=path.stat().st_size,
        )
        for path in done.files
    ]
    files = [{"name": one.name, "link": str(one.uri), "type": one.mimeType, "bytes": one.size} for one in links]
    facts = {"summary": f"{done.summary}\n{done.details}", "files": files, "manifest": done.manifest}
    return answer(facts, [*links, *seen(done), *heard(done)])


def kind_of(path: Path) -> str:
    own = {
        ".mid": "audio/midi",
        ".glb": "model/gltf-binary",
        ".srt": "application/x-subrip",
        ".vtt": "text/vtt",
        ".flac": "audio/flac",
        ".opus": "audio/ogg",
        ".webm": "video/webm",
    }
    return own.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def seen(done: Result) -> list[types.ImageContent]:
    """A picture: the middle frame of a film, the piano roll of a score."""
    from PIL import Image

    from apps.studio.tabs import drawn

    if film := done.first(media.PLAYED):
        frames = [*media.read_video(film)[0]]
        pixels = frames[len(frames) // 2]
    elif picture := done.first(PICTURE) or drawn(done.first(media.MIDI)):
        pixels = media.read_image(picture)
    else:
        return []
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    with TemporaryDirectory(prefix="affekt-seen-") as place:
        image.save(Path(place) / "seen.jpg", quality=85)
        return [types.ImageContent(type="image", data=encoded(Path(place) / "seen.jpg"), mimeType="image/jpeg")]


def heard(done: Result) -> list[types.AudioContent]:
    """The sound as MP3, truncated if it is long."""
    sound = done.first(media.SOUND) or done.first(media.PLAYED)
    if sound is None:
        return []
    try:
        samples, rate = media.read_audio(sound, mono=False)
    except InputError:  # a silent film
        return []
    with TemporaryDirectory(prefix="affekt-heard-") as place:
        path = Path(place) / "heard.mp3"
        media.write_audio(path, samples[:, : round(HEARD * rate)], rate)
        return [types.AudioContent(type="audio", data=encoded(path), mimeType="audio/mpeg")]


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
