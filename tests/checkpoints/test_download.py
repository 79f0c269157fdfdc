from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from vjepa2_ac.checkpoints.download import ATTEMPTS, download, wanted_digest
from vjepa2_ac.checkpoints.released import RELEASED, Released
from vjepa2_ac.errors import DownloadError, NotEnoughDiskError


def weights(size: int = 300_000, seed: int = 0) -> bytes:
    stream = io.BytesIO()
    torch.save({"encoder": torch.randn(size, generator=torch.Generator().manual_seed(seed))}, stream)
    return stream.getvalue()


MODEL = Released(name="tiny", what="a test", base="http://nowhere.invalid/", files=("evals/tiny.pt",))


@dataclass
class Server:
    """A small web server that can be told to misbehave."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etag: str | None = '"one"'
    mark: str = "ETag"  # the header that tells the version, `etag`
    marks_parts: bool = True  # whether answers with a part tell the ETag again
    heeds_if_range: bool = True
    cut_after: list[int] = field(default_factory=list)  # bytes of each coming answer; then no more cuts
    statuses: list[int] = field(default_factory=list)  # of each coming answer; then 200
    announce: int | None = None  # a wrong Content-Length
    announce_total: int | None = None  # a wrong total in Content-Range
    asked: list[str | None] = field(default_factory=list)  # the Range of every request
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    server_state: Server

    def do_GET(self) -> None:
        state = self.server_state
        state.asked.append(self.headers["Range"])
        body = state.files.get(self.path)
        if state.statuses:
            self.send_error(state.statuses.pop(0))
            return
        if body is None:
            self.send_error(404)
            return
        first = self._first(body)
        if first is not None and first >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.end_headers()
            return
        self.send_response(200 if first is None else 206)
        if first is not None:
            total = state.announce_total or len(body)
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{total}")
        rest = body[first or 0 :]
        if state.etag and (state.marks_parts or first is None):
            self.send_header(state.mark, state.etag)
        self.send_header("Content-Length", str(state.announce or len(rest)))
        self.end_headers()
        if state.cut_after:
            rest = rest[: state.cut_after.pop(0)]
        self.wfile.write(rest)
        self.close_connection = True

    def _first(self, body: bytes) -> int | None:
        asked, condition = self.headers["Range"], self.headers["If-Range"]
        is_another = self.server_state.heeds_if_range and condition and condition != self.server_state.etag
        if not self.server_state.ranges or asked is None or is_another:
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def log_message(self, *_: object) -> None:
        """Keep the test's output quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server(files={"/v/evals/tiny.pt": weights()})
    handler = type("Bound", (Handler,), {"server_state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        state.url = f"http://127.0.0.1:{web.server_address[1]}/v"
        threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
        yield state
        web.shutdown()


def get(server: Server, folder: Path, sha256: str | None = None, model: Released = MODEL) -> Path:
    (fetched,) = download(model, folder, base_url=server.url, sha256=sha256, pause=lambda _: None)
    return fetched.path


def left_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_file_arrives_whole_with_its_digest_beside_it(server: Server, tmp_path: Path) -> None:
    body = server.files["/v/evals/tiny.pt"]
    assert get(server, tmp_path).read_bytes() == body
    assert (tmp_path / "tiny.pt.sha256").read_text() == f"{hashlib.sha256(body).hexdigest()}  tiny.pt\n"
    assert left_in(tmp_path) == {"tiny.pt", "tiny.pt.sha256"}


def test_a_line_cut_in_the_middle_is_resumed_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.cut_after = [100_000, 50_000]
    assert get(server, tmp_path).read_bytes() == server.files["/v/evals/tiny.pt"]
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_a_second_call_goes_on_where_the_first_gave_up(server: Server, tmp_path: Path) -> None:
    server.cut_after = [100_000] + [0] * ATTEMPTS
    with pytest.raises(DownloadError, match="100000 bytes are kept, run the command again"):
        get(server, tmp_path)
    assert left_in(tmp_path) == {"tiny.pt.part", "tiny.pt.part.etag"}
    server.asked.clear()
    assert get(server, tmp_path).read_bytes() == server.files["/v/evals/tiny.pt"]
    assert server.asked == ["bytes=100000-"]


def test_two_versions_of_a_file_are_never_spliced(server: Server, tmp_path: Path) -> None:
    server.cut_after = [100_000] + [0] * ATTEMPTS
    with pytest.raises(DownloadError):
        get(server, tmp_path)
    server.files["/v/evals/tiny.pt"], server.etag = weights(seed=1), '"two"'
    assert get(server, tmp_path).read_bytes() == server.files["/v/evals/tiny.pt"]


@pytest.mark.parametrize(
    ("mark", "versions"),
    [
        ("ETag", ('"one"', '"two"')),
        ("Last-Modified", ("Mon, 30 Nov 2026 08:00:00 GMT", "Mon, 30 Nov 2026 09:00:00 GMT")),
    ],
)
def test_a_server_that_resumes_whatever_the_version_splices_nothing(
    server: Server, tmp_path: Path, mark: str, versions: tuple[str, str]
) -> None:
    server.heeds_if_range, server.mark, server.etag = False, mark, versions[0]
    server.cut_after = [100_000] + [0] * ATTEMPTS
    with pytest.raises(DownloadError):
        get(server, tmp_path)
    server.files["/v/evals/tiny.pt"], server.etag = weights(seed=1), versions[1]
    assert get(server, tmp_path).read_bytes() == server.files["/v/evals/tiny.pt"]


def test_where_the_server_tells_no_version_nothing_is_spliced(server: Server, tmp_path: Path) -> None:
    server.etag = None
    server.cut_after = [1000 * size for size in range(1, ATTEMPTS + 1)]
    with pytest.raises(DownloadError, match="nothing of it is kept"):
        get(server, tmp_path)
    server.files["/v/evals/tiny.pt"] = weights(seed=1)
    assert get(server, tmp_path).read_bytes() == weights(seed=1)
    assert set(server.asked) == {None}  # all of it, every time


def test_a_server_that_marks_whole_answers_alone_is_resumed(server: Server, tmp_path: Path) -> None:
    server.marks_parts = False
    server.cut_after = [1000] * 4
    assert get(server, tmp_path).read_bytes() == server.files["/v/evals/tiny.pt"]
    assert server.asked == [None, *(f"bytes={1000 * part}-" for part in range(1, 5))]


def test_a_page_in_place_of_a_configuration_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["/v/config.json"] = b"<html>log in first</html>"
    with pytest.raises(DownloadError, match="did not give JSON"):
        get(server, tmp_path, model=replace(MODEL, files=("config.json",)))
    assert left_in(tmp_path) <= {"config.json.part.etag"}


def test_a_complete_part_is_recognised(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny.pt.part").write_bytes(server.files["/v/evals/tiny.pt"])
    assert get(server, tmp_path).read_bytes() == server.files["/v/evals/tiny.pt"]


def test_a_part_longer_than_the_file_is_started_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny.pt.part").write_bytes(server.files["/v/evals/tiny.pt"] + b"more")
    assert get(server, tmp_path).read_bytes() == server.files["/v/evals/tiny.pt"]


def test_a_server_without_ranges_starts_from_the_beginning(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cut_after = False, [100_000]
    assert get(server, tmp_path).read_bytes() == server.files["/v/evals/tiny.pt"]


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    assert get(server, tmp_path).read_bytes() == server.files["/v/evals/tiny.pt"]


def test_a_missing_file_is_said_at_once(server: Server, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(DownloadError, match=r"tiny\.pt: the server answers 404"):
        get(server, tmp_path)
    assert len(server.asked) == 1


def test_fewer_bytes_than_announced_are_never_kept_as_the_file(server: Server, tmp_path: Path) -> None:
    server.ranges, server.announce = False, len(server.files["/v/evals/tiny.pt"]) + 10
    with pytest.raises(DownloadError, match="bytes are kept"):
        get(server, tmp_path)
    assert not (tmp_path / "tiny.pt").exists()


def test_a_web_page_in_place_of_the_file_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["/v/evals/tiny.pt"] = b"<!DOCTYPE html><html>please log in</html>"
    with pytest.raises(DownloadError, match=r"did not give a weights file: .* web page"):
        get(server, tmp_path)
    assert not (tmp_path / "tiny.pt").exists()


def test_another_digest_than_wanted_is_thrown_away(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="expected 0000"):
        get(server, tmp_path, sha256="0" * 64)
    assert left_in(tmp_path) == set()


def test_the_wanted_digest_is_accepted(server: Server, tmp_path: Path) -> None:
    assert get(server, tmp_path, sha256=hashlib.sha256(server.files["/v/evals/tiny.pt"]).hexdigest()).exists()


def test_what_is_there_is_checked_and_not_fetched_again(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path)
    server.asked.clear()
    (again,) = download(MODEL, tmp_path, base_url=server.url)
    assert again.already_there
    assert server.asked == []


def test_a_file_that_changed_since_it_was_fetched_is_noticed(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path).write_bytes(b"something else")
    with pytest.raises(DownloadError, match="delete it to fetch it anew"):
        get(server, tmp_path)


def test_a_full_disk_is_noticed_before_writing(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vjepa2_ac.checkpoints.writing.SPARE", 10**18)
    with pytest.raises(NotEnoughDiskError, match="GB free"):
        get(server, tmp_path)


def test_two_downloads_never_write_into_one_file(server: Server, tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "tiny.pt.part").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another download"):
            get(server, tmp_path)


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"http://127\.0\.0\.1:9/evals/tiny\.pt"):
        download(MODEL, tmp_path, base_url="http://127.0.0.1:9", pause=lambda _: None)


@pytest.mark.parametrize("address", ["weights.example", "http://[::1", "ftp://127.0.0.1"])
def test_an_address_that_is_none_is_said_at_once(tmp_path: Path, address: str) -> None:
    waited: list[float] = []
    with pytest.raises(DownloadError, match="cannot be asked for"):
        download(MODEL, tmp_path, base_url=address, pause=waited.append)
    assert not waited


def test_a_hugging_face_model_is_a_folder_of_two_files(server: Server, tmp_path: Path) -> None:
    model = RELEASED["facebook/vjepa2-vitl-fpc64-256"]
    for file, body in zip(model.files, (b"{}", weights()), strict=True):
        server.files[f"/v/{file}"] = body
    fetched = download(model, tmp_path, base_url=server.url, pause=lambda _: None)
    assert [file.path.relative_to(tmp_path) for file in fetched] == [
        Path("facebook--vjepa2-vitl-fpc64-256/config.json"),
        Path("facebook--vjepa2-vitl-fpc64-256/model.safetensors"),
    ]


def test_a_digest_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "sums"
    file.write_text(f"{'AB' * 32}  vitl.pt\n")
    assert wanted_digest(str(file)) == wanted_digest("ab" * 32) == "ab" * 32
    file.write_text("no digest")
    with pytest.raises(DownloadError, match="64 hexadecimal"):
        wanted_digest(str(file))


@pytest.mark.parametrize("name", RELEASED)
def test_every_released_model_has_an_address_and_a_licence(name: str) -> None:
    model = RELEASED[name]
    assert model.base.startswith("https://")
    assert "MIT" in model.licence
    assert replace(model).local_path
