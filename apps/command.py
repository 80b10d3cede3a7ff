"""``affekt studio``, ``serve`` and ``page``; imports nothing heavy, so that other commands start fast."""

from importlib.util import find_spec
from pathlib import Path

from gen.arguments import path
from gen.errors import InputError


def studio(parser) -> None:
    """open the studio in a browser"""
    parser.add_argument("--port", type=int, help="(default: 7860, or the next free one)")
    parser.add_argument("--share-lan", action="store_true", help="allow access from the local network; no password")
    parser.add_argument("--mcp", action="store_true", help="also offer tools to assistants (pip install 'gradio[mcp]')")
    parser.add_argument(
        "--files", type=path, nargs="+", default=[], metavar="FOLDER", help="local folders that assistants may read"
    )
    parser.add_argument("--out", type=path, help="folder of the results (default: out/studio)")
    parser.add_argument("--open", action="store_true", help="open the browser")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 (default: a GPU if available)")
    parser.set_defaults(command=_studio)


def _studio(options) -> None:
    if find_spec("gradio") is None:
        raise InputError('the studio needs Gradio: run `pip install -e ".[apps]"` in the checkout')
    if options.mcp and find_spec("mcp") is None:
        raise InputError("--mcp needs the MCP package: run `pip install 'gradio[mcp]'`")
    from apps.studio.main import launch

    where = {"port": options.port, "lan": options.share_lan, "browser": options.open, "device": options.device}
    launch(out=options.out, mcp=options.mcp, files=options.files, **where)


def serve(parser) -> None:
    """start an HTTP server for tasks, with a token and a queue (OpenAPI)"""
    parser.add_argument(
        "--folder", type=path, default=Path(".cache") / "serve", help="folder of jobs and files (default: .cache/serve)"
    )
    parser.add_argument("--port", type=int, default=8420, help="(default: 8420)")
    parser.add_argument("--share-lan", action="store_true", help="allow access from the local network")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 (default: a GPU if available)")
    parser.add_argument("--waiting", type=int, default=100, help="maximum number of waiting jobs (default: 100)")
    parser.add_argument("--megabytes", type=int, default=200, help="maximum size of an upload (default: 200)")
    parser.add_argument("--hours", type=float, default=24.0, help="time that results are kept (default: 24)")
    parser.set_defaults(command=_serve)


def _serve(options) -> None:
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise InputError('the server needs FastAPI: run `pip install -e ".[apps]"` in the checkout')
    import logging

    from apps.server import Limits, serve

    limits = Limits(waiting=options.waiting, megabytes=options.megabytes, hours=options.hours)
    where = {"port": options.port, "lan": options.share_lan, "device": options.device}
    serve(options.folder.absolute(), limits=limits, ready=logging.getLogger("affekt").info, **where)


def page(parser) -> None:
    """write a page, index.html, that plays the results in a folder side by side"""
    parser.add_argument("folder", type=Path, help="the output folder of `affekt render`")
    parser.add_argument("--title", default="Affekt", help="(default: Affekt)")
    parser.set_defaults(command=_page)


def _page(options) -> None:
    from apps.page import write

    write(options.folder, options.title)
