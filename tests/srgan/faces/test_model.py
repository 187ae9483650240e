from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from srgan import weights
from srgan.dataset_config import FaceConfig
from srgan.errors import ConfigError, ModelError, StorageError
from srgan.faces import find_model, landmarks
from srgan.faces.landmarks import LANDMARKS_SHA256
from tests.srgan.faces.people import yunet_file

AUTO = FaceConfig()


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


class Server:
    """A web server with one file, and what was asked of it."""

    def __init__(self) -> None:
        self.data = b""
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                found = self.path == "/yunet.onnx"
                self.send_response(200 if found else 404)
                self.end_headers()
                if found:
                    self.wfile.write(outer.data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/yunet.onnx"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_without_a_model_file_it_is_dlib() -> None:
    for config in (AUTO, FaceConfig(detector="dlib")):
        found = find_model(None, config)
        assert (found.kind, found.model, found.sha256) == ("dlib", None, LANDMARKS_SHA256)


def test_where_yunet_is_at_hand_it_is_yunet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = yunet_file().read_bytes()
    (tmp_path / "yunet_n_dynamic.onnx").write_bytes(data)
    monkeypatch.setenv("SRGAN_WEIGHTS", str(tmp_path))
    found = find_model(None, AUTO)
    assert (found.kind, found.model, found.sha256) == ("yunet", data, sha256(data))
    assert found.sha256 == weights.WEIGHTS["yunet_n_dynamic.onnx"].sha256
    assert find_model(None, FaceConfig(detector="dlib")).kind == "dlib"


@pytest.mark.parametrize("name", ["yunet_n_dynamic.onnx", "yunet_n_320_320.onnx"])
def test_known_files_have_the_known_sha256(name: str) -> None:
    path = yunet_file(name)
    assert find_model(str(path), AUTO).sha256 == weights.WEIGHTS[name].sha256


def test_another_file_under_a_known_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "yunet_n_320_320.onnx").write_bytes(b"something else")
    monkeypatch.setenv("SRGAN_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelError, match="not the known file"):
        find_model(None, AUTO)


def test_yunet_without_a_file_says_where_to_put_it() -> None:
    with pytest.raises(
        ModelError, match=r"detector yunet: none of yunet_n_dynamic\.onnx, .* is in"
    ):
        find_model(None, FaceConfig(detector="yunet"))


def test_a_file_by_its_path(tmp_path: Path) -> None:
    data = yunet_file().read_bytes()
    (tmp_path / "my model.onnx").write_bytes(data)
    found = find_model(str(tmp_path / "my model.onnx"), AUTO)
    assert (found.kind, found.model) == ("yunet", data)


def test_the_config_of_a_dataset_finds_its_own_model_or_none() -> None:
    path = str(yunet_file())
    found = find_model(path, AUTO)
    config = FaceConfig(detector="yunet", model_sha256=found.sha256)
    assert find_model(path, config) == found
    with pytest.raises(ModelError, match=r"detector at hand \(dlib, .*is not that of the config"):
        find_model(None, FaceConfig(model_sha256=found.sha256))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no network that OpenCV can read"),
        (b"<!DOCTYPE html><title>Sign in</title>", "no network that OpenCV can read"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
    ],
)
def test_what_is_no_model_is_refused_at_once(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "face.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=said) as caught:
        find_model(str(path), AUTO)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "face.onnx"
    path.write_bytes(yunet_file().read_bytes()[:200_000])
    with pytest.raises(ModelError, match="no network that OpenCV can read"):
        find_model(str(path), AUTO)


def test_contradictions_and_absent_files() -> None:
    with pytest.raises(ConfigError, match=r"face model x\.onnx is for detector yunet, not dlib"):
        find_model("x.onnx", FaceConfig(detector="dlib"))
    with pytest.raises(StorageError, match=r"/nowhere/x\.onnx: no such face model"):
        find_model("/nowhere/x.onnx", AUTO)
    with pytest.raises(StorageError, match="scheme 'ftp' is not supported"):
        find_model("ftp://host/x.onnx", AUTO)


def test_a_pinned_url_is_fetched_once(server: Server, tmp_path: Path) -> None:
    server.data = yunet_file().read_bytes()
    place = f"{server.url}#sha256={sha256(server.data)}"
    first, second = find_model(place, AUTO), find_model(place, AUTO)
    assert first == second
    assert first.model == server.data
    assert server.asked == ["/yunet.onnx"]
    # A damaged copy is fetched again.
    (kept,) = (tmp_path / "home" / ".cache" / "srgan" / "weights").iterdir()
    kept.write_bytes(b"half")
    assert find_model(place, AUTO) == first
    assert len(server.asked) == 2


def test_urls_that_give_no_model(server: Server) -> None:
    server.data = b"x" * (16 * 2**20 + 1)
    pin = "#sha256=" + "0" * 64
    with pytest.raises(ModelError, match="larger than 16 MiB"):
        find_model(server.url + pin, AUTO)
    server.data = b"changed"
    with pytest.raises(ModelError, match=f"sha256 is {sha256(b'changed')}, expected 0000"):
        find_model(server.url + pin, AUTO)
    with pytest.raises(StorageError, match=r"cannot be fetched: HTTP Error 404"):
        find_model(server.url + "x" + pin, AUTO)
    with pytest.raises(ConfigError, match="could be changed on its way"):
        find_model(server.url, AUTO)
    with pytest.raises(ConfigError, match="after # comes sha256="):
        find_model(server.url + "#sha256=../../x", AUTO)
    server.server.shutdown()
    server.server.server_close()
    with pytest.raises(StorageError, match="cannot be fetched"):
        find_model(server.url + pin, AUTO)


def test_another_landmark_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmarks, "LANDMARKS_SHA256", "0" * 64)
    landmarks.load_landmarks.cache_clear()
    with pytest.raises(ConfigError, match="not the known model"):
        find_model(None, AUTO)
    landmarks.load_landmarks.cache_clear()


def test_a_missing_landmark_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    landmarks.load_landmarks.cache_clear()
    with pytest.raises(ConfigError, match=r'face_recognition_models .*pip install "srgan-faces'):
        find_model(None, AUTO)
