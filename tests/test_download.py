import contextlib
import hashlib
import os
import socket
import sys
import threading
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fcnseg import download
from fcnseg.download import cache_folder, cache_path
from fcnseg.errors import DataError, EnvironmentFault, FcnsegError, UsageError, WeightsError

BODY = bytes(range(256)) * 4096 * 3
SHA = hashlib.sha256(BODY).hexdigest()


def fetch(url, sha256, cache_dir=None, fault: type[FcnsegError] = WeightsError, **how):
    advice = "use --another FILE"
    return download.fetch(url, sha256, cache_dir, fault=fault, otherwise=advice, **how)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        name = self.path.rpartition("/")[2]
        if name == "gone.pth":
            self.send_error(404)
            return
        if name == "moved.pth":
            self.send_response(302)
            self.send_header("Location", "/good.pth")
            self.end_headers()
            return
        if name == "away.pth":
            self.send_response(302)
            self.send_header("Location", "http://example.invalid/good.pth")
            self.end_headers()
            return
        if name == "slow.pth":
            self.server.release.wait(5)
            return
        self.send_response(200)
        if name != "unannounced.pth":
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(BODY[: len(BODY) // 2] if name == "short.pth" else BODY)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.asked, server.release = [], threading.Event()
    server.address = f"http://127.0.0.1:{server.server_address[1]}/files"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


def closed_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/good.pth"


def assert_nothing_left(folder):
    assert not folder.exists() or os.listdir(folder) == []


@pytest.mark.parametrize("name", ["good.pth", "moved.pth", "unannounced.pth"])
@pytest.mark.parametrize("digits", [8, 64])
def test_a_file_is_fetched_and_verified(server, tmp_path, name, digits):
    seen = []
    path = fetch(
        f"{server.address}/{name}",
        SHA[:digits].upper(),
        tmp_path / "new" / "cache",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert path == tmp_path / "new" / "cache" / name
    assert path.read_bytes() == BODY
    assert os.listdir(path.parent) == [name]
    assert seen == sorted(seen)
    assert seen[-1] == (len(BODY), None if name == "unannounced.pth" else len(BODY))


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_the_file_has_the_permissions_of_any_new_file(server, tmp_path):
    path = fetch(f"{server.address}/good.pth", SHA, tmp_path)
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_cached_file_needs_no_network(server, tmp_path):
    url = f"{server.address}/good.pth"
    first = fetch(url, SHA, tmp_path)
    assert fetch(url, SHA[:8], tmp_path) == first
    assert len(server.asked) == 1


def test_a_file_put_by_hand_is_used(tmp_path):
    (tmp_path / "good.pth").write_bytes(BODY)
    assert fetch(closed_address(), SHA, tmp_path).read_bytes() == BODY


def test_a_damaged_cached_file_is_fetched_again(server, tmp_path):
    (tmp_path / "good.pth").write_bytes(BODY[:-1])
    assert fetch(f"{server.address}/good.pth", SHA, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("fault", [WeightsError, DataError])
def test_offline_says_everything_in_one_line(tmp_path, fault):
    url = closed_address()
    with pytest.raises(fault) as caught:
        fetch(url, SHA, tmp_path, fault)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{url}: download failed: ")
    where = f"put the file by hand at {tmp_path / 'good.pth'} (sha256 {SHA})"
    assert message.endswith(f"{where}, or use --another FILE")
    assert_nothing_left(tmp_path)


def test_offline_with_a_damaged_file_says_so_and_keeps_it(tmp_path):
    (tmp_path / "good.pth").write_bytes(b"half")
    with pytest.raises(WeightsError, match="has another sha256 and is not used"):
        fetch(closed_address(), SHA[:8], tmp_path)
    assert (tmp_path / "good.pth").read_bytes() == b"half"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("short.pth", r"only 393216 of 3145728 bytes|only 1572864 of 3145728 bytes|announced end"),
        ("gone.pth", "the server answers 404"),
        ("away.pth", r"http://example.invalid/good.pth is not an https address"),
    ],
)
def test_a_bad_answer_leaves_nothing_behind(server, tmp_path, name, expected):
    with pytest.raises(WeightsError, match=expected):
        fetch(f"{server.address}/{name}", SHA, tmp_path)
    assert_nothing_left(tmp_path)


def test_a_wrong_hash_is_refused_with_both(server, tmp_path):
    with pytest.raises(WeightsError, match=f"{SHA}.*beginning with 00000000"):
        fetch(f"{server.address}/good.pth", "0" * 8, tmp_path)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("good.pth", "announces 3145728 bytes, more than the 1000"),
        ("unannounced.pth", "more than the 1000 bytes allowed came"),
    ],
)
def test_a_file_over_the_cap_is_refused(server, tmp_path, name, expected):
    with pytest.raises(WeightsError, match=expected):
        fetch(f"{server.address}/{name}", SHA, tmp_path, max_bytes=1000)
    assert_nothing_left(tmp_path)


def test_a_silent_server_runs_into_the_timeout(server, tmp_path):
    with pytest.raises(WeightsError, match=r"no answer within 0\.2 s"):
        fetch(f"{server.address}/slow.pth", SHA, tmp_path, timeout=0.2)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("target", ["http://example.invalid/x.pth", "http://127.0.0.1/x.pth"])
def test_a_redirect_out_of_https_is_refused(target):
    request = download.urllib.request.Request("https://example.invalid/x.pth")
    handler = download._SecureRedirects()
    with pytest.raises(download._Refused, match=f"redirects from https to {target}"):
        handler.redirect_request(request, None, 302, "Found", Message(), target)
    followed = handler.redirect_request(
        request, None, 302, "Found", Message(), "https://other.invalid/x.pth"
    )
    assert followed.full_url == "https://other.invalid/x.pth"


@pytest.mark.parametrize("scheme", ["http", "ftp", "file"])
def test_only_https_is_asked(tmp_path, scheme):
    with pytest.raises(WeightsError, match="is not an https address"):
        fetch(f"{scheme}://example.invalid/x.pth", SHA, tmp_path)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("bad", ["1234567", "xyz" * 4, SHA + "0", ""])
def test_a_malformed_hash_is_a_usage_error(tmp_path, bad):
    with pytest.raises(UsageError, match="expected 8 to 64 hex digits"):
        fetch("https://example.invalid/x.pth", bad, tmp_path)


@pytest.mark.parametrize("tail", ["", "..", "a%2Fb%5Cc", "x.pth/"])
def test_an_address_without_a_plain_file_name_is_refused(tmp_path, tail):
    if tail == "x.pth/":
        assert cache_path(f"https://example.invalid/{tail}", tmp_path) == tmp_path / "x.pth"
        return
    with pytest.raises(UsageError, match="ends in a plain file name"):
        cache_path(f"https://example.invalid/{tail}", tmp_path)


def test_a_full_disk_is_the_environments_fault(server, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentFault, match=r"good\.pth: cannot be written \(No space left"):
        fetch(f"{server.address}/good.pth", SHA, tmp_path)
    assert_nothing_left(tmp_path)


def test_a_cache_that_is_a_file_is_the_environments_fault(tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(EnvironmentFault, match="FCNSEG_CACHE"):
        fetch(closed_address(), SHA, tmp_path / "cache")


def test_an_interrupted_download_leaves_nothing(server, tmp_path):
    def interrupt(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server.address}/good.pth", SHA, tmp_path, progress=interrupt)
    assert_nothing_left(tmp_path)


def test_the_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("FCNSEG_CACHE", "~/somewhere")
    assert cache_folder() == Path.home() / "somewhere"
    monkeypatch.delenv("FCNSEG_CACHE")
    if sys.platform != "win32":
        monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
        assert cache_folder() == Path("/var/cache/me/fcnseg")
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert cache_folder() == Path.home() / ".cache" / "fcnseg"
