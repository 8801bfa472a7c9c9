"""Downloads from a server on this computer, whose certificate the tests made."""

import hashlib
import io
import json
import shutil
import ssl
import subprocess
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from medseg.bundle import download as module
from medseg.bundle.download import Web, download
from medseg.bundle.https import Https
from medseg.bundle.reader import read_bundle
from medseg.domain.errors import BundleError, OutputError, ResourceError, UsageError
from tests.bundles import stored_bundle, volume_bundle
from tests.commands import medseg

NAME = "organs_mr_segmentation"
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the server's certificate")


class Server:
    """What it answers by path: bytes, or a URL that it leads on to; `asked` are the paths in order."""

    def __init__(self, folder):
        self.files, self.asked = {}, []
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        self.trusting = ssl.create_default_context(cafile=certificate)
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own.load_cert_chain(certificate, key)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                answer = outer.files.get(self.path)
                if answer is None:
                    self.send_error(404)
                elif isinstance(answer, str):
                    self.send_response(302)
                    self.send_header("Location", answer)
                    self.end_headers()
                else:
                    self.send_response(200)
                    content, said = answer if isinstance(answer, tuple) else (answer, len(answer))
                    if said is not None:
                        self.send_header("Content-Length", str(said))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = own.wrap_socket(self.server.socket, server_side=True)
        self.server.handle_error = lambda *_: None  # clients that do not trust it hang up
        self.base = f"https://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture
def server(running, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running.files.clear()
    running.asked.clear()
    return running


def web(server, context=None):
    places = {"list": f"{server.base}/list", "monaihosting": f"{server.base}/m", "github": f"{server.base}/g",
              "huggingface": f"{server.base}/h"}  # fmt: skip
    return Web(Https(context or server.trusting, timeout_s=20), places)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return stored_bundle(volume_bundle(), tmp_path_factory.mktemp("made") / NAME).folder


@pytest.fixture(scope="module")
def packed(folder):
    """The bundle as a zip of the zoo's form: one folder at its root."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                made.write(path, f"{NAME}/{path.relative_to(folder).as_posix()}")
    return buffer.getvalue()


def listing(packed, **more):
    entry = {"checksum": hashlib.sha1(packed).hexdigest(), "source": "https://example.org/x.zip", **more}
    return json.dumps({f"{NAME}_v0.9.0": {}, f"{NAME}_v0.10.0": entry, "other_v7.0.0": {}}).encode()


def zoo_url(version):
    return f"/m/{NAME}/versions/{version}/files/{NAME}_v{version}.zip"


def assert_nothing_left(folder):
    assert not folder.exists() or list(folder.iterdir()) == []


def test_the_latest_version_of_the_list_is_taken_and_is_a_bundle(server, packed, tmp_path):
    server.files |= {"/list": listing(packed), zoo_url("0.10.0"): packed}
    done = download(NAME, tmp_path / "out", "monaihosting", web=web(server))
    assert (done.folder, done.sha256) == (tmp_path / "out" / NAME, hashlib.sha256(packed).hexdigest())
    assert read_bundle(done.folder).name == NAME
    assert [path.name for path in (tmp_path / "out").iterdir()] == [NAME]


def test_a_version_that_was_said_needs_no_list_and_may_lead_on_over_https(server, packed, tmp_path):
    server.files |= {f"/g/{NAME}_v0.2.0.zip": f"{server.base}/elsewhere", "/elsewhere": packed}
    done = download(NAME, tmp_path, "github", "0.2.0", web(server))
    assert server.asked == [f"/g/{NAME}_v0.2.0.zip", "/elsewhere"]
    assert read_bundle(done.folder).name == NAME


def test_files_of_hugging_face_pass_the_same_gate(server, folder, tmp_path):
    entries = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file():
            content = path.read_bytes()
            large = {"lfs": {"oid": hashlib.sha256(content).hexdigest()}} if path.suffix == ".pt" else {}
            entries.append({"type": "file", "path": name, "size": len(content), **large})
            server.files[f"/h/MONAI/{NAME}/resolve/main/{name}"] = content
        else:
            entries.append({"type": "directory", "path": name, "size": 0})
    server.files[f"/h/api/models/MONAI/{NAME}/tree/main?recursive=true"] = json.dumps(entries).encode()
    done = download(NAME, tmp_path / "a", "huggingface", web=web(server))
    assert read_bundle(done.folder).name == NAME
    assert done.made_here
    server.files[f"/h/MONAI/{NAME}/resolve/main/models/model.pt"] = bytes(
        len(server.files[f"/h/MONAI/{NAME}/resolve/main/models/model.pt"])
    )
    with pytest.raises(BundleError, match="listing"):
        download(NAME, tmp_path / "b", "huggingface", web=web(server))
    assert_nothing_left(tmp_path / "b")


def hostile_zip(name, content=b"x"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(f"{NAME}/configs/metadata.json", "{}")
        made.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (hostile_zip("../evil"), "leads out"),
        (hostile_zip("/evil"), "leads out"),
        (hostile_zip("big", bytes(8 << 20)), "would grow"),
        (b"no zip at all", "no zip"),
        ("http://127.0.0.1:9/x.zip", "not https"),
        ("file:///etc/passwd", "not https"),
        ((b"", 9 << 30), "more than"),
    ],
    ids=["traversal", "absolute", "bomb", "no zip", "to http", "to a file", "too large"],
)
def test_what_is_not_taken_leaves_nothing_behind(server, tmp_path, answer, reason):
    server.files[zoo_url("1.0.0")] = answer
    with pytest.raises(BundleError, match=reason):
        download(NAME, tmp_path / "out", "monaihosting", "1.0.0", web(server))
    assert_nothing_left(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] in ([], ["out"])


def test_more_bytes_than_were_said_or_fewer_are_noticed(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    server.files[zoo_url("1.0.0")] = (bytes(2000), None)
    with pytest.raises(BundleError, match="more than the 1000 bytes"):
        download(NAME, tmp_path, "monaihosting", "1.0.0", web(server))
    server.files[zoo_url("1.0.0")] = (bytes(200), 300)
    with pytest.raises(ResourceError, match=r"200 of 300|IncompleteRead"):
        download(NAME, tmp_path, "monaihosting", "1.0.0", web(server))
    assert_nothing_left(tmp_path)


def test_another_content_than_the_list_says_is_not_unpacked(server, packed, tmp_path):
    server.files |= {"/list": listing(packed, checksum="0" * 40), zoo_url("0.10.0"): packed}
    with pytest.raises(BundleError, match="sha1"):
        download(NAME, tmp_path, "monaihosting", web=web(server))
    assert_nothing_left(tmp_path)


def test_a_certificate_that_nobody_vouches_for_is_refused(server, packed, tmp_path):
    server.files[zoo_url("1.0.0")] = packed
    with pytest.raises(ResourceError, match=r"(?i)certificate"):
        download(NAME, tmp_path, "monaihosting", "1.0.0", web(server, ssl.create_default_context()))
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "source", "version"),
    [
        ("../x", "github", None),
        (".x", "github", "1.0"),
        ("a/b", "github", "1.0"),
        ("a/../b", "huggingface", None),
        ("x", "elsewhere", None),
        ("x", "github", "../1"),
    ],
)
def test_names_that_are_none_are_refused_before_anything_is_asked(server, tmp_path, name, source, version):
    with pytest.raises(UsageError):
        download(name, tmp_path, source, version, web(server))
    assert server.asked == []


def test_an_unknown_bundle_or_version_is_a_matter_of_usage(server, packed, tmp_path):
    server.files["/list"] = listing(packed)
    for name, version in (("nothing", None), (NAME, "4.0.0")):
        with pytest.raises(UsageError, match=r"not in|not there"):
            download(name, tmp_path, "monaihosting", version, web(server))


def test_a_folder_that_exists_is_left_alone(server, tmp_path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(OutputError, match="exists already"):
        download(NAME, tmp_path, "monaihosting", "1.0.0", web(server))
    assert server.asked == []


def test_the_command_tells_digest_and_bundle(server, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "Web", lambda: web(server))
    server.files |= {"/list": listing(packed), zoo_url("0.10.0"): packed}
    done = medseg("bundle", "download", NAME, "-o", tmp_path)
    assert (done.code, done.err) == (0, "")
    assert hashlib.sha256(packed).hexdigest() in done.out
    assert "1 liver, 5 liver tumour" in done.out


def test_without_a_network_one_line_says_what_was_tried_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "PLACES", dict.fromkeys(module.PLACES, "https://127.0.0.1:9"))
    done = medseg("bundle", "download", NAME, "-o", tmp_path)
    assert (done.code, done.out, len(done.lines)) == (6, "", 1)
    for words in ("https://127.0.0.1:9", "cannot be reached", "give the zip"):
        assert words in done.err
    assert_nothing_left(tmp_path)
