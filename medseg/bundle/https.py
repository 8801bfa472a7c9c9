"""Files over HTTPS, when the user asked for one: certificates verified, no other protocol, sizes capped."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import Any

from medseg import __version__
from medseg.domain.errors import BundleError, ResourceError, UsageError

_CHUNK, _TIMEOUT_S = 1 << 20, 30.0
_SMALL = 16 << 20


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Redirects that stay on https; urllib's own would also follow to http and ftp."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        if not newurl.lower().startswith("https://"):
            raise BundleError(f"{req.full_url}: leads on to {newurl:.200}, which is not https; nothing was taken")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Https:
    """Takes files from servers whose certificates the context trusts: the system's, unless another is given."""

    def __init__(self, context: ssl.SSLContext | None = None, timeout_s: float = _TIMEOUT_S):
        self._timeout_s = timeout_s
        self._opener = urllib.request.OpenerDirector()  # not build_opener, which also opens files, http and ftp
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPSHandler(context=context or ssl.create_default_context()),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _OnlyHttps(),
            urllib.request.UnknownHandler(),
        ):
            self._opener.add_handler(handler)

    def read(self, url: str) -> bytes:
        """A short answer, at most 16 MiB.

        Raises: as `save`.
        """
        content = bytearray()
        self._take(url, _SMALL, content.extend)
        return bytes(content)

    def save(self, url: str, path: Path, most_bytes: int) -> int:
        """The file at the URL, and how many bytes it has.

        Raises: UsageError if there is none; ResourceError if the server cannot be reached, its certificate is not
        trusted or the connection breaks; BundleError if it is larger than it may be or leads to another protocol.
        """
        with path.open("xb") as file:
            return self._take(url, most_bytes, file.write)

    def _take(self, url: str, most_bytes: int, sink: Any) -> int:
        if not url.startswith("https://"):
            raise UsageError(f"{url}: is not https; bundles are taken over https only")
        request = urllib.request.Request(url, headers={"User-Agent": f"medseg/{__version__}"})
        try:
            with closing(self._opener.open(request, timeout=self._timeout_s)) as answer:
                said = answer.headers.get("Content-Length")
                if said is not None and said.isdigit() and int(said) > most_bytes:
                    raise BundleError(f"{url}: {said} bytes are more than the {most_bytes} that are taken")
                taken = 0
                while chunk := answer.read(_CHUNK):
                    taken += len(chunk)
                    if taken > most_bytes:
                        raise BundleError(f"{url}: more than the {most_bytes} bytes that are taken")
                    sink(chunk)
                if said is not None and said.isdigit() and taken != int(said):
                    raise ResourceError(f"{url}: broke off after {taken} of {said} bytes; try again")
                return taken
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 404, 410):
                raise UsageError(f"{url}: not there ({error.code}); check the name, --version and --from") from error
            if 300 <= error.code < 400:  # urllib itself refuses some
                raise BundleError(f"{url}: leads on to what is not https; nothing was taken") from error
            raise ResourceError(f"{url}: the server answers {error.code}; try again later") from error
        except (OSError, HTTPException) as error:
            reason = " ".join(str(getattr(error, "reason", None) or error).split()) or type(error).__name__
            raise ResourceError(
                f"{url}: cannot be reached ({reason[:200]}); without a network, download it elsewhere and give "
                "the zip: medseg segment -b FILE.zip"
            ) from error
