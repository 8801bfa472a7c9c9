"""OHIF's built files and Orthanc's DICOMweb behind one origin, with the headers that OHIF's workers need."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

_SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "orthanc",
    "configuration": {
        "friendlyName": "Orthanc",
        "name": "orthanc",
        "wadoUriRoot": "/dicom-web",
        "qidoRoot": "/dicom-web",
        "wadoRoot": "/dicom-web",
        "qidoSupportsIncludeField": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
    },
}
_CONFIG = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "defaultDataSourceName": "orthanc",
    "dataSources": [_SOURCE],
    "maxNumberOfWebWorkers": 2,
    "investigationalUseDialog": {"option": "never"},
}


@contextmanager
def ohif(dist: Path, orthanc: str) -> Iterator[str]:
    """The address of OHIF over this Orthanc."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path.startswith("/dicom-web/"):
                self._pass_on()
            elif path == "/app-config.js":
                self._send(200, "text/javascript", f"window.config = {json.dumps(_CONFIG)};".encode())
            else:
                self._file(unquote(path))

        def _file(self, path: str) -> None:
            file = (dist / path.lstrip("/")).resolve()
            if not file.is_relative_to(dist.resolve()) or not file.is_file():
                file = dist / "index.html"  # OHIF's own routes
            self._send(200, guess_type(file.name)[0] or "application/octet-stream", file.read_bytes())

        def _pass_on(self) -> None:
            request = Request(orthanc + self.path, headers={"Accept": self.headers.get("Accept", "*/*")})
            try:
                with urlopen(request, timeout=60) as answer:
                    self._send(answer.status, answer.headers["Content-Type"], answer.read())
            except HTTPError as error:
                self._send(error.code, "text/plain", error.read())

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
