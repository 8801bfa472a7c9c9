"""A few files for one browser on this machine: loopback only, behind an address that nobody can guess."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def loopback_server(
    contents: Mapping[str, tuple[str, bytes]], policy: str, port: int = 0
) -> tuple[ThreadingHTTPServer, str]:
    """A server that gives these contents (name -> type and bytes) and nothing else, and the address of "".

    It reads no file: what is not in the mapping is not there. Requests that name another host are refused, so that no
    web page can reach it under a name of its own, and the address holds a secret, so that no other user of the machine
    can. Raises: OSError if the port is taken.
    """
    token = secrets.token_urlsafe(16)

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "medseg", ""
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, with_body: bool) -> None:
            host = self.headers.get("Host", "")
            name = self.path.partition("?")[0].removeprefix(f"/{token}/")
            known = contents.get(name) if self.path.startswith(f"/{token}/") else None
            if host not in hosts:
                known = None
            kind, body = known or ("text/plain; charset=utf-8", b"not here\n")
            self.send_response(200 if known else 404)
            for header, value in {**HEADERS, "Content-Security-Policy": policy}.items():
                self.send_header(header, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Say nothing: an address holds the secret."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    hosts = (f"127.0.0.1:{server.server_port}", f"localhost:{server.server_port}")
    return server, f"http://127.0.0.1:{server.server_port}/{token}/"
