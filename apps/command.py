"""``affekt studio`` and ``affekt page``; imports nothing heavy, so that other commands pay nothing for them."""

from importlib.util import find_spec
from pathlib import Path

from gen.arguments import path
from gen.errors import InputError


def studio(parser) -> None:
    """open the studio in a browser"""
    parser.add_argument("--port", type=int, help="(default: 7860, or the next free one)")
    parser.add_argument("--share-lan", action="store_true", help="let other machines of this network in; no password")
    parser.add_argument("--mcp", action="store_true", help="also tools for assistants (pip install 'gradio[mcp]')")
    parser.add_argument("--files", type=path, nargs="+", default=[], metavar="FOLDER",
                        help="folders of this machine whose files assistants may name")  # fmt: skip
    parser.add_argument("--open", action="store_true", help="open the browser")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    parser.set_defaults(command=_studio)


def _studio(options) -> None:
    if find_spec("gradio") is None:
        raise InputError('the studio needs Gradio: run `pip install -e ".[apps]"` in the checkout')
    if options.mcp and find_spec("mcp") is None:
        raise InputError("--mcp needs the MCP package: run `pip install 'gradio[mcp]'`")
    from apps.studio import launch

    where = {"port": options.port, "lan": options.share_lan, "browser": options.open, "device": options.device}
    launch(mcp=options.mcp, files=options.files, **where)


def page(parser) -> None:
    """make a page, index.html, that plays what was rendered into a folder side by side"""
    parser.add_argument("folder", type=Path, help="what `affekt render` wrote")
    parser.add_argument("--title", default="Affekt", help="(default: Affekt)")
    parser.set_defaults(command=_page)


def _page(options) -> None:
    from apps.page import write

    write(options.folder, options.title)
