"""Protects the studio from other sites: allowed host names, allowed origins, and content security policy."""

import ipaddress
import socket
from urllib.parse import urlsplit

LOCAL = ("127.0.0.1", "localhost", "::1")
# Gradio's page has scripts of its own inline and builds functions from text; nothing comes from another host
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)


class Guard:
    """ASGI middleware: refuses requests to other host names (DNS rebinding) and from pages of other origins; responses
    have a content security policy that also forbids framing."""

    def __init__(self, app, lan: bool = False):
        self.app = app
        self.names = {*LOCAL, *((socket.gethostname(), f"{socket.gethostname()}.local") if lan else ())}
        self.lan = lan

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        host, origin = headers.get(b"host", b"").decode("latin-1"), headers.get(b"origin", b"").decode("latin-1")
        if not self.known(host):
            return await refused(send, 421, "This studio does not answer to that name.")
        if origin and urlsplit(origin).netloc.lower() != host.lower():
            return await refused(send, 403, "Another site may not use this studio.")

        async def safer(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        return await self.app(scope, receive, safer)

    def known(self, host: str) -> bool:
        name = (urlsplit(f"//{host}").hostname or "").lower()
        return name in self.names or (self.lan and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def refused(send, status: int, why: str) -> None:
    kind = (b"content-type", b"text/plain; charset=utf-8")
    await send({"type": "http.response.start", "status": status, "headers": [kind, *HEADERS]})
    await send({"type": "http.response.body", "body": why.encode()})
