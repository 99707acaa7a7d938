"""Fetching: the right file, whole, or one line that says what was tried; a local server plays the published hosts."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from framecast.artifacts.locks import Lock
from framecast.data.fetching import fetch as fetching
from framecast.data.fetching.fetch import SOURCES, RemoteFile, Source, ensure, fetch
from framecast.data.formats.sha256sums import read_sums, write_sums
from framecast.data.kth import PUBLISHED_WINDOWS
from framecast.data.moving_mnist import DRAWN_SHA256, bundled_digits
from framecast.errors import UserError
from framecast.losses.features import vgg16_weights
from framecast.losses.features.torch_archive import read_tensors
from framecast.study import catalogue
from framecast.study.params import Entry
from tests.conftest import ROOT, serving

MNIST = Path(__file__).parents[3] / ".." / "shared" / "data" / "mnist"
CONTENT = bytes(hashlib.shake_256(b"a file of many blocks").digest(3 << 20))
DIGEST = hashlib.sha256(CONTENT).hexdigest()
STOCKS = Entry.model_validate({"kind": "stocks", "source": "official"})


class Server(ThreadingHTTPServer):
    """Serves CONTENT under names that say how the host behaves, and remembers the ranges it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []
        self.served = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        if "gone" in self.path:
            return self.send_error(404)
        self.send_response(200)
        if "no-ranges" not in self.path:  # nor does it tell how long a file is before it sends it
            self.send_header("Content-Length", str(len(CONTENT)))
        return self.end_headers()

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.ranges.append(asked)
        match self.path.split("/")[1]:
            case "whole" if asked == f"bytes={len(CONTENT)}-":
                self.send_error(416)
            case "whole" if asked:
                self.answer(CONTENT, start=int(asked.removeprefix("bytes=").rstrip("-")))
            case "whole" | "no-ranges":
                self.answer(CONTENT)
            case "cut":
                self.answer(CONTENT, stop=len(CONTENT) // 3)
            case "edited":
                self.answer(CONTENT[:-1] + b"?")
            case "endless":
                self.send_response(200)
                self.end_headers()
                for _ in range(10):
                    self.wfile.write(CONTENT)
            case "page":
                self.answer(b"<html>please log in</html>")
            case _:
                self.send_error(404)

    def answer(self, content: bytes, start: int | None = None, stop: int | None = None) -> None:
        self.send_response(200 if start is None else 206)
        self.send_header("Content-Length", str(len(content) - (start or 0)))
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        sent = content[start or 0 : stop]
        self.server.served += len(sent)
        self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("FRAMECAST_MIRROR", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server, serving(server):
        yield server


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, server: Server):
    """Make CONTENT a source called ``sample`` that these hosts serve."""

    def publish(*hosts: str) -> Server:
        urls = tuple(server.url(f"{host}/sample.bin") for host in hosts)
        monkeypatch.setitem(SOURCES, "sample", Source("ours", (RemoteFile("sample.bin", len(CONTENT), DIGEST, urls),)))
        return server

    return publish


def test_mirrors_are_tried_in_turn_until_one_serves_the_right_bytes(published, tmp_path: Path) -> None:
    published("gone", "page", "endless", "edited", "whole")
    said: list[str] = []
    fetch("sample", tmp_path, say=said.append)
    assert (tmp_path / "sample" / "sample.bin").read_bytes() == CONTENT
    assert os.listdir(tmp_path / "sample") == ["sample.bin"]
    told = "\n".join(said)
    for reason in ("404", f"expected {len(CONTENT)} bytes, found 26", "does not match", "sha256 correct"):
        assert reason in told


def test_when_nothing_works_every_address_is_named_with_its_reason(published, tmp_path: Path) -> None:
    server = published("gone", "page", "edited")
    with pytest.raises(UserError) as refused:
        fetch("sample", tmp_path, say=lambda _: None)
    message = str(refused.value)
    assert "\n" not in message
    assert "FRAMECAST_MIRROR" in message
    for host, reason in (("gone", "404"), ("page", "found 26"), ("edited", DIGEST)):
        assert reason in message.split(server.url(f"{host}/sample.bin"))[1].split("; ")[0]
    assert not (tmp_path / "sample" / "sample.bin").exists()


def test_a_download_cut_off_is_never_the_file_and_goes_on_from_where_it_stopped(published, tmp_path: Path) -> None:
    server = published("cut")
    with pytest.raises(UserError, match=f"found {len(CONTENT) // 3}"):
        fetch("sample", tmp_path, say=lambda _: None)
    assert os.listdir(tmp_path / "sample") == ["sample.bin.part"]
    published("whole")
    server.ranges.clear()
    server.served = 0
    fetch("sample", tmp_path, say=lambda _: None)
    assert server.ranges == [f"bytes={len(CONTENT) // 3}-"]
    assert server.served == len(CONTENT) - len(CONTENT) // 3
    assert (tmp_path / "sample" / "sample.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("host", "part"),
    [
        ("no-ranges", CONTENT[:1000]),  # the server starts from the first byte again
        ("whole", b"x" * 1000),  # the part is of another file
        ("whole", b"x" * (len(CONTENT) + 1)),
        ("whole", b"x" * len(CONTENT)),
        ("whole", CONTENT),  # stopped between the last byte and the renaming
    ],
)
def test_whatever_part_is_found_the_file_is_right_in_the_end(published, tmp_path: Path, host: str, part: bytes) -> None:
    published(host)
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "sample.bin.part").write_bytes(part)
    fetch("sample", tmp_path, say=lambda _: None)
    assert (tmp_path / "sample" / "sample.bin").read_bytes() == CONTENT
    assert os.listdir(tmp_path / "sample") == ["sample.bin"]


@pytest.mark.parametrize("host", ["whole", "no-ranges"])
@pytest.mark.parametrize("part", [None, CONTENT[:1000], b"x" * 1000, CONTENT])
def test_a_file_of_unpublished_size_is_known_by_its_sha1(
    server: Server, tmp_path: Path, monkeypatch, host: str, part: bytes | None
) -> None:
    digest = hashlib.sha1(CONTENT).hexdigest()
    file = RemoteFile("sample.bin", None, digest, (server.url(f"{host}/sample.bin"),), "sha1")
    monkeypatch.setitem(SOURCES, "sample", Source("ours", (file,)))
    path = tmp_path / "sample" / "sample.bin"
    path.parent.mkdir()
    if part is not None:
        path.with_name("sample.bin.part").write_bytes(part)
    fetch("sample", tmp_path, say=lambda _: None)
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["sample.bin"]
    path.write_bytes(CONTENT[:-5])
    with pytest.raises(UserError, match=f"expected sha1 {digest}, found {hashlib.sha1(CONTENT[:-5]).hexdigest()}"):
        fetch("sample", tmp_path, say=lambda _: None)


def test_what_is_here_and_right_is_left_alone_and_what_is_wrong_is_the_users(published, tmp_path: Path) -> None:
    server = published("whole")
    fetch("sample", tmp_path, say=lambda _: None)
    said: list[str] = []
    server.ranges.clear()
    fetch("sample", tmp_path, say=said.append)
    assert server.ranges == []
    assert "already here" in said[-1]
    path = tmp_path / "sample" / "sample.bin"
    path.write_bytes(CONTENT[:-5])
    with pytest.raises(UserError) as refused:
        fetch("sample", tmp_path, say=lambda _: None)
    for part in (str(path), DIGEST, hashlib.sha256(CONTENT[:-5]).hexdigest(), "delete it", "framecast fetch sample"):
        assert part in str(refused.value)
    assert path.read_bytes() == CONTENT[:-5]


def test_two_downloads_of_one_file_do_not_mix(published, tmp_path: Path) -> None:
    published("whole")
    with Lock(tmp_path / "sample" / "sample.bin.part") as held:
        assert held.take()
        with pytest.raises(UserError, match="another `framecast fetch`"):
            fetch("sample", tmp_path, say=lambda _: None)


@pytest.mark.parametrize("layout", ["sample/sample.bin", "sample.bin"])
@pytest.mark.parametrize("form", ["folder", "address"])
def test_a_mirror_folder_comes_first(published, tmp_path: Path, monkeypatch, layout: str, form: str) -> None:
    server = published("whole")
    mirror = tmp_path / "a mirror"
    (mirror / layout).parent.mkdir(parents=True)
    (mirror / layout).write_bytes(CONTENT)
    monkeypatch.setenv("FRAMECAST_MIRROR", str(mirror) if form == "folder" else mirror.as_uri())
    fetch("sample", tmp_path / "raw", say=lambda _: None)
    assert (tmp_path / "raw" / "sample" / "sample.bin").read_bytes() == CONTENT
    assert (mirror / layout).read_bytes() == CONTENT
    assert server.ranges == []


def test_a_mirror_with_a_wrong_file_gives_way_to_the_published_address(published, tmp_path: Path, monkeypatch) -> None:
    server = published("whole")
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "sample.bin").write_bytes(CONTENT[:-1] + b"?")
    monkeypatch.setenv("FRAMECAST_MIRROR", str(tmp_path / "mirror"))
    fetch("sample", tmp_path / "raw", say=lambda _: None)
    assert (tmp_path / "raw" / "sample" / "sample.bin").read_bytes() == CONTENT
    assert len(server.ranges) == 1


def test_a_wrong_name_or_mirror_is_refused(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UserError, match="allowed: mnist, moving_mnist, moving_mnist_40, bair, human36m, stocks"):
        fetch("mnits", tmp_path)
    monkeypatch.setenv("FRAMECAST_MIRROR", "https://example.org/files")
    with pytest.raises(UserError, match="expected a folder or a file:// address"):
        fetch("mnist", tmp_path, say=lambda _: None)


def test_ensure_copies_from_the_mirror_only(published, tmp_path: Path, monkeypatch) -> None:
    """What ``prepare`` calls: no mirror, no copy; a mirror without the file, no network; with it, the files."""
    raw, mirror = tmp_path / "raw", tmp_path / "mirror"
    monkeypatch.delenv("ALPHA_VANTAGE_KEY", raising=False)
    ensure("stocks", STOCKS, raw)
    mirror.mkdir()
    monkeypatch.setenv("FRAMECAST_MIRROR", str(mirror))
    ensure("stocks", STOCKS, raw)
    assert not raw.exists()
    (mirror / "stocks").mkdir()
    (mirror / "stocks" / "daily_XYZ.csv").write_text("prices\n")
    write_sums(mirror / "stocks" / "SHA256SUMS", {"daily_XYZ.csv": hashlib.sha256(b"prices\n").hexdigest()})
    ensure("stocks", STOCKS, raw, say=lambda _: None)
    assert (raw / "stocks" / "daily_XYZ.csv").read_text() == "prices\n"
    assert read_sums(raw / "stocks" / "SHA256SUMS") == read_sums(mirror / "stocks" / "SHA256SUMS")
    ensure("stocks", Entry.model_validate({"kind": "stocks", "source": "bundled"}), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (mirror / "stocks" / "daily_XYZ.csv").write_text("edited\n")
    with pytest.raises(UserError, match="mend the folder named in FRAMECAST_MIRROR"):
        fetch("stocks_daily", tmp_path / "other", say=lambda _: None)


def test_an_unpacked_folder_serves_in_the_place_of_its_archive(published, tmp_path: Path, monkeypatch) -> None:
    """Whoever has unpacked the files need not download them again; what a mirror has of them is copied."""
    server = published("whole")
    monkeypatch.setitem(SOURCES, "sample", replace(SOURCES["sample"], folder="unpacked"))
    (tmp_path / "raw" / "sample" / "unpacked" / "test").mkdir(parents=True)
    (tmp_path / "raw" / "sample" / "unpacked" / "test" / "a").write_text("mine\n")
    mirror = tmp_path / "mirror" / "sample" / "unpacked"
    for name in ("train/b", "test/a"):
        (mirror / name).parent.mkdir(parents=True)
        (mirror / name).write_text("the mirror's\n")
    monkeypatch.setenv("FRAMECAST_MIRROR", str(tmp_path / "mirror"))
    fetch("sample", tmp_path / "raw", say=lambda _: None)
    assert sorted(os.listdir(tmp_path / "raw" / "sample")) == ["unpacked"]
    assert (tmp_path / "raw" / "sample" / "unpacked" / "test" / "a").read_text() == "mine\n"
    assert (tmp_path / "raw" / "sample" / "unpacked" / "train" / "b").read_text() == "the mirror's\n"
    fetch("sample", tmp_path / "new", say=lambda _: None)
    assert sorted(os.listdir(tmp_path / "new" / "sample" / "unpacked")) == ["test", "train"]
    assert not server.ranges
    (tmp_path / "mirror" / "sample" / "sample.bin").write_bytes(CONTENT)
    fetch("sample", tmp_path / "packed", say=lambda _: None)
    assert os.listdir(tmp_path / "packed" / "sample") == ["sample.bin"]


def test_unpacked_clips_stand_in_the_place_of_the_archives_without_the_network(tmp_path: Path, monkeypatch) -> None:
    """Those that a mirror has, and afterwards those that are listed here."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("somebody asked the network")

    monkeypatch.setattr(fetching.urllib.request, "urlopen", refuse)
    mirror, raw, clip = tmp_path / "mirror", tmp_path / "raw", "boxing/person03_boxing_d1_uncomp.avi"
    (mirror / "kth" / "boxing").mkdir(parents=True)
    for name in ("00sequences.txt", clip):
        (mirror / "kth" / name).write_text(f"{name}\n")
    monkeypatch.setenv("FRAMECAST_MIRROR", str(mirror))
    fetch("kth", raw, say=lambda _: None)
    assert (raw / "kth" / clip).read_text() == f"{clip}\n"
    assert sorted(read_sums(raw / "kth" / "SHA256SUMS")) == ["00sequences.txt", clip]
    assert sorted(os.listdir(raw / "kth")) == ["00sequences.txt", "SHA256SUMS", "boxing"]
    monkeypatch.delenv("FRAMECAST_MIRROR")
    said: list[str] = []
    fetch("kth", raw, say=said.append)
    assert "SHA256SUMS: the files that it lists are here, sha256 correct" in said[-1]
    (raw / "kth" / clip).write_text("cut\n")
    with pytest.raises(UserError, match=rf"{clip}: expected sha256 .* or delete .*SHA256SUMS to fetch the archives"):
        fetch("kth", raw, say=lambda _: None)
    monkeypatch.setenv("FRAMECAST_MIRROR", str(mirror))
    (mirror / "kth" / "walking.zip").touch()  # one of six is left there, which is no set of archives
    fetch("kth", tmp_path / "again", say=lambda _: None)
    assert (tmp_path / "again" / "kth" / clip).is_file()
    (mirror / "kth" / "walking.zip").unlink()
    (mirror / "kth" / "00sequences.txt").unlink()  # without it nobody knows where somebody is in view
    ensure("kth", Entry.model_validate({"kind": "kth", "source": "official"}), tmp_path / "other", say=lambda _: None)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ({"kind": "kth", "source": "stand-in"}, ()),
        ({"kind": "kth"}, ("kth",)),
        ({"kind": "moving_mnist", "source": "bundled"}, ()),
        ({"kind": "moving_mnist"}, ("mnist",)),
        ({"kind": "moving_mnist", "test_file": "mnist_test_seq"}, ("mnist", "moving_mnist")),
        ({"kind": "moving_mnist", "protocol": "kartal", "test": 9, "train": 9}, ("moving_mnist",)),
        ({"kind": "stocks", "source": "bundled"}, ()),
        ({"kind": "stocks"}, ("stocks",)),
        ({"kind": "stocks", "interval": "daily"}, ("stocks_daily",)),
        ({"kind": "generated_sins"}, ()),
        ({"kind": "bair", "source": "stand-in"}, ()),
        ({"kind": "bair"}, ("bair",)),
        ({"kind": "human36m", "source": "stand-in"}, ()),
        ({"kind": "human36m"}, ("human36m",)),
    ],
)
def test_a_dataset_needs_the_files_that_it_opens_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object], needed: tuple[str, ...]
) -> None:
    """By what it says, and by what it asks for when it is prepared without any."""
    kind, stated = str(arguments["kind"]), {name: value for name, value in arguments.items() if name != "kind"}
    defaults = {name: value for name, (_, value) in catalogue.keyword_arguments(f"data.{kind}").items()}
    assert catalogue.raw_sources(kind, defaults | stated) == needed
    dataset = catalogue.load("data", kind)(**stated)
    for name in needed:
        with pytest.raises(UserError, match=rf"run `framecast fetch {name}`"):
            dataset.prepare(tmp_path)
        monkeypatch.setattr("framecast.data.moving_mnist.official_digits", lambda _: bundled_digits())


def test_the_cards_say_what_is_checked() -> None:
    """Sizes and hashes of every published file, of the test sets that are drawn here, and KTH's windows."""
    cards = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    for file in [file for source in SOURCES.values() for file in source.files]:
        told = [file.name, file.digest, f"{file.size:_}" if file.size else f"{file.about // 10**6} MB"]
        assert all(part.replace("_", " ") in cards or part in cards for part in told), told
    assert all(digest in cards for digest in DRAWN_SHA256.values())
    for length, splits in PUBLISHED_WINDOWS.items():
        told = " / ".join(f"{count:_}".replace("_", " ") for count in splits.values())
        assert f"{told} ({length}" in cards, told


@pytest.mark.skipif(not MNIST.is_dir(), reason="needs the real MNIST files, absent here")
def test_real_mnist_from_a_mirror_has_the_published_size_and_sha256(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FRAMECAST_MIRROR", str(MNIST.parent))
    fetch("mnist", tmp_path, say=lambda _: None)
    assert sorted(os.listdir(tmp_path / "mnist")) == sorted(file.name for file in SOURCES["mnist"].files)
    for file in SOURCES["mnist"].files:
        content = (tmp_path / "mnist" / file.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.digest)


# --- vgg16 --------------------------------------------------------------------------------------------

OXFORD = MNIST.parent / "vgg16" / fetching.VGG16_NPZ.name
KEPT = "vgg16/block2_conv2.safetensors"


class Planted:
    """What a hostile checkpoint would have its reader call."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("planted",)


def checkpoint(path: Path, **options: object) -> dict[str, torch.Tensor]:
    """A file as torchvision publishes them, without the layers' bulk; the tensors that are to be kept."""
    layers = [nn.Identity() for _ in range(11)]
    for here, there in vgg16_weights.TORCHVISION.items():
        outputs, inputs = vgg16_weights.SHAPES[f"{here}.weight"][:2]
        layers[int(there.split(".")[1])] = nn.Conv2d(inputs, outputs, 3)
    layers[10] = nn.Conv2d(128, 4, 1)
    features = nn.Sequential(*layers)
    state = nn.ModuleDict({"features": features, "classifier": nn.Linear(2, 2)}).state_dict()
    torch.save(state, path, **options)
    places = vgg16_weights.TORCHVISION.items()
    return {f"{here}.{part}": state[f"{there}.{part}"] for here, there in places for part in ("weight", "bias")}


@pytest.fixture
def hosted(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The local server in the place of PyTorch's, with a small checkpoint of its own and that one's digest."""
    tensors = checkpoint(tmp_path / "hosted.pth")
    content = (tmp_path / "hosted.pth").read_bytes()
    monkeypatch.setitem(globals(), "CONTENT", content)
    monkeypatch.setattr(fetching, "VGG16_URL", server.url("whole/vgg16_features-12345678.pth"))
    monkeypatch.setattr(fetching, "VGG16_DIGEST", hashlib.sha256(content).hexdigest()[:8])
    return tensors


def test_vgg16_keeps_four_layers_of_the_published_file_and_nothing_else(hosted, tmp_path: Path) -> None:
    said: list[str] = []
    fetch("vgg16", tmp_path / "raw", say=said.append)
    assert os.listdir(tmp_path / "raw" / "vgg16") == ["block2_conv2.safetensors"]
    found = vgg16_weights.read(tmp_path / "raw" / KEPT)
    assert found.keys() == hosted.keys()
    assert all(torch.equal(found[name], hosted[name]) for name in hosted)
    assert sum(tensor.numel() for tensor in found.values()) == 260_160
    assert "not Oxford's kernels" in said[-1]
    first = (tmp_path / "raw" / KEPT).read_bytes()
    fetch("vgg16", tmp_path / "raw", say=said.append)
    assert "already here" in said[-1]
    fetch("vgg16", tmp_path / "again", say=said.append)
    assert (tmp_path / "again" / KEPT).read_bytes() == first


def test_vgg16_cut_off_goes_on_and_a_wrong_file_is_thrown_away(hosted, server, tmp_path: Path, monkeypatch) -> None:
    good = fetching.VGG16_URL
    for host, told, left in (("gone", "404", 0), ("cut", "expected .* bytes", 1), ("edited", "expected sha256", 0)):
        monkeypatch.setattr(fetching, "VGG16_URL", good.replace("whole", host))
        with pytest.raises(UserError, match=told) as refused:
            fetch("vgg16", tmp_path, say=lambda _: None)
        assert "\n" not in str(refused.value)
        assert len(os.listdir(tmp_path / "vgg16") if (tmp_path / "vgg16").exists() else []) == left
    for host, place in (("whole", tmp_path), ("no-ranges", tmp_path / "again")):
        monkeypatch.setattr(fetching, "VGG16_URL", good.replace("whole", host))
        fetch("vgg16", place, say=lambda _: None)
        assert os.listdir(place / "vgg16") == ["block2_conv2.safetensors"]


def test_vgg16_from_a_mirror_needs_no_network_and_leaves_the_mirror_alone(
    hosted, server, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "vgg16_features-12345678.pth").write_bytes(CONTENT)
    monkeypatch.setenv("FRAMECAST_MIRROR", str(tmp_path / "mirror"))
    fetch("vgg16", tmp_path / "raw", say=lambda _: None)
    assert torch.equal(vgg16_weights.read(tmp_path / "raw" / KEPT)["conv2_2.bias"], hosted["conv2_2.bias"])
    assert server.ranges == []
    (tmp_path / "mirror" / "vgg16_features-12345678.pth").write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(UserError, match="expected sha256"):
        fetch("vgg16", tmp_path / "other", say=lambda _: None)
    assert os.listdir(tmp_path / "mirror") == ["vgg16_features-12345678.pth"]


@pytest.mark.skipif(not OXFORD.is_file(), reason="needs Oxford's weights, absent here")
def test_oxfords_weights_come_from_the_mirrors_npz(server, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FRAMECAST_MIRROR", str(MNIST.parent))
    said: list[str] = []
    fetch("vgg16", tmp_path, say=said.append)
    assert "biases rounded by up to 1.2e-4" in said[-1]
    weights = {name: tensor.numpy() for name, tensor in vgg16_weights.read(tmp_path / KEPT).items()}
    assert vgg16_weights.are_oxfords(weights)
    assert weights["conv1_1.bias"][:2] == pytest.approx([0.73429835, 0.093403675], abs=1.2e-4)
    (tmp_path / "edited").mkdir()
    (tmp_path / "edited" / OXFORD.name).write_bytes(OXFORD.read_bytes()[:-1] + b"?")
    monkeypatch.setenv("FRAMECAST_MIRROR", str(tmp_path / "edited"))
    with pytest.raises(UserError, match=r"expected sha256 ad7360f.*mend the folder"):
        fetch("vgg16", tmp_path / "raw", say=lambda _: None)


def test_a_checkpoint_is_read_and_never_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, shapes = tmp_path / "a.pth", {"bias": (3,)}
    torch.save({"other": Planted(), "bias": torch.arange(3.0)}, path)
    assert read_tensors(path, shapes)["bias"].tolist() == [0, 1, 2]
    torch.save({"bias": Planted()}, path)
    with pytest.raises(UserError, match=r"a\.pth: expected a zip written by torch\.save.*bias"):
        read_tensors(path, shapes)
    assert not (tmp_path / "planted").exists()
    whole = (torch.save({"bias": torch.arange(3.0)}, path), path.read_bytes())[1]
    wrong: dict[str, object] = {
        "no mapping": [1, 2],
        "missing": {},
        "another shape": {"bias": torch.zeros(4)},
        "another type": {"bias": torch.zeros(3, dtype=torch.float64)},
        "a view": {"bias": torch.zeros(6)[::2]},
        "a part": {"bias": torch.zeros(6)[3:]},
    }
    for content in wrong.values():
        torch.save(content, path)
        with pytest.raises(UserError, match="state dict"):
            read_tensors(path, shapes)
    torch.save({"bias": torch.arange(3.0)}, path, _use_new_zipfile_serialization=False)
    for content in (path.read_bytes(), whole[: len(whole) // 2], b"", b"text", np.lib.format.magic(1, 0)):
        path.write_bytes(content)
        with pytest.raises(UserError, match="state dict") as refused:
            read_tensors(path, shapes)
        assert "\n" not in str(refused.value)


def test_the_table_of_sources_says_where_how_large_and_whose() -> None:
    for source in SOURCES.values():
        assert source.terms
        for file in source.files:
            assert len(bytes.fromhex(file.digest)) == {"sha256": 32, "sha1": 20}[file.algorithm]
            assert file.size is None or file.size > 0
            assert all(url.endswith(f"/{file.name}") for url in file.urls)
    assert len(fetching.MONTHS) == 24
