from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from anlp.core.errors import UserError
from anlp.datasets import catalogue

NAMES = tuple(catalogue.CATALOGUE["mnist"].digests)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which a real server offers it."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def offer(
    monkeypatch: pytest.MonkeyPatch, *urls: str, content: bytes = b"digits of a kind"
) -> None:
    files = dict.fromkeys(NAMES, hashlib.md5(content).hexdigest())
    monkeypatch.setattr(
        catalogue, "CATALOGUE", {"mnist": catalogue.DataFiles(files, ("mnist", "MNIST/raw"), urls)}
    )


def test_embedded_data_needs_no_files(tmp_path: Path) -> None:
    assert not catalogue.needs_files("digits")
    assert catalogue.needs_files("mnist")
    assert catalogue.find("digits", tmp_path) == {}
    catalogue.stage("digits", tmp_path)


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw"])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_files_are_found_plain_or_packed_in_both_layouts(
    tmp_path: Path, folder: str, ending: str
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    for name in NAMES:
        (tmp_path / folder / (name + ending)).touch()

    found = catalogue.find("mnist", tmp_path)

    assert found == {name: tmp_path / folder / (name + ending) for name in NAMES}


def test_one_missing_file_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    for name in NAMES[1:]:
        (tmp_path / "mnist" / name).touch()

    assert catalogue.find("mnist", tmp_path) is None


def test_missing_files_are_downloaded_and_checked(
    tmp_path: Path, mirror: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = mirror
    for name in NAMES:
        (folder / f"{name}.gz").write_bytes(gzip.compress(b"digits of a kind"))
    offer(monkeypatch, url + "gone/", url)

    catalogue.stage("mnist", tmp_path)

    assert sorted(path.name for path in (tmp_path / "mnist").iterdir()) == sorted(
        f"{name}.gz" for name in NAMES
    )


@pytest.mark.parametrize("damage", ["content", "packing", "length"])
def test_damaged_download_leaves_nothing_behind(
    tmp_path: Path, mirror: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    folder, url = mirror
    whole = gzip.compress(b"digits of a kind")
    offered = {
        "content": gzip.compress(b"something else"),
        "packing": b"no gzip",
        "length": whole[:-4],
    }
    for name in NAMES:
        (folder / f"{name}.gz").write_bytes(offered[damage])
    offer(monkeypatch, url)

    with pytest.raises(UserError):
        catalogue.stage("mnist", tmp_path)

    assert list((tmp_path / "mnist").iterdir()) == []


def test_what_cannot_be_downloaded_names_the_files_and_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "http://127.0.0.1:9/")

    with pytest.raises(UserError) as caught:
        catalogue.stage("mnist", tmp_path)

    assert all(name in str(caught.value) for name in NAMES)
    assert f"{tmp_path / 'mnist'} or {tmp_path / 'MNIST/raw'}" in str(caught.value)
    assert "ANLP_DATA" in str(caught.value)


def test_a_name_that_is_nothing_here_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"data mnits: neither a known data set \(cifar10, .*mnist.*\) nor a file or folder",
    ):
        catalogue.stage("mnits", tmp_path)


def test_a_folder_of_the_users_own_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()

    assert catalogue.find("faces", tmp_path) == {"": tmp_path / "faces"}
    assert catalogue.find("../faces", tmp_path / "faces") is None


class Breaking(QuietHandler):
    """Sends half of a file, then closes the connection; answers a Range with the rest."""

    asked: list[str | None] = []  # noqa: RUF012 - one list for all requests of a test, emptied by it

    def do_GET(self) -> None:
        content = Path(self.translate_path(self.path)).read_bytes()
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:] if wanted else content[: len(content) // 2])


def test_a_download_that_broke_off_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * 1000
    (tmp_path / "offered").write_bytes(content)
    Breaking.asked.clear()
    handler = functools.partial(Breaking, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        files = catalogue.DataFiles(
            {"offered": hashlib.md5(content).hexdigest()}, ("sets",), (url,), ending=""
        )
        monkeypatch.setattr(catalogue, "CATALOGUE", {"big": files})
        with pytest.raises(UserError, match="ended after 128000 of 256000 bytes"):
            catalogue.stage("big", tmp_path)

        catalogue.stage("big", tmp_path)
        server.shutdown()
        thread.join()

    assert (tmp_path / "sets" / "offered").read_bytes() == content
    assert Breaking.asked == [None, "bytes=128000-"]
    assert len(list((tmp_path / "sets").iterdir())) == 1
