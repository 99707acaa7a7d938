"""Bring published files into ``data/raw``: the only place of the project that uses the network.

Each file is tried at ``FRAMECAST_MIRROR`` (a folder or ``file://`` address that holds ``mnist/t10k-….gz`` or the bare
file), then at each published address in turn. A partial download stands under the name ``….part``, is resumed with an
HTTP range request, and gets its name only when size and sha256 are right.
"""

import errno
import os
import shutil
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import Any

from framecast.artifacts import replacing, sha256_of
from framecast.artifacts.locks import Lock
from framecast.data.formats import softmotion
from framecast.data.formats.human36m_images import in_videos
from framecast.data.formats.idx import MNIST_SHA256
from framecast.data.formats.kth_sequences import ARCHIVES_MB as KTH_MB
from framecast.data.formats.kth_sequences import ARCHIVES_SHA1 as KTH_SHA1
from framecast.data.formats.kth_sequences import NAME as KTH_LIST
from framecast.data.formats.kth_sequences import SHA256 as KTH_LIST_SHA256
from framecast.data.formats.kth_sequences import SIZE as KTH_LIST_SIZE
from framecast.data.formats.mnist_test_seq import SHA256 as MNIST_TEST_SEQ_SHA256
from framecast.data.formats.sha1 import verify_sha1
from framecast.data.formats.sha256sums import read_sums, verify, write_sums
from framecast.errors import UserError
from framecast.study import catalogue
from framecast.study.params import Entry

AFFECTS_NUMBERS = False

MIRROR = "FRAMECAST_MIRROR"
BLOCK = 1 << 20
LARGEST = 2 << 30  #: bytes of a file whose size neither its publisher nor the server tells
LOCAL_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)  # no other address mends these

Say = Callable[[str], None]


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its name in ``data/raw/<source>/``, its size in bytes, its hash, and where it is served.

    ``size`` is None, and ``algorithm`` another, where its publisher says no more; ``about`` is then what is told of it.
    """

    name: str
    size: int | None
    digest: str
    urls: tuple[str, ...]
    algorithm: str = "sha256"
    about: int | None = None


@dataclass(frozen=True)
class Source:
    """Files that are fetched together; ``terms`` is whose they are and under which terms, in one line.

    ``folder``, beside the files, holds what they unpack to; where it is, the files are not needed. ``whole`` raises
    UserError when that, by the names in it, is not what a dataset with these arguments reads. ``private`` files may not
    be passed on, nor what is made of them.
    """

    terms: str
    files: tuple[RemoteFile, ...] = ()
    folder: str | None = None
    whole: Callable[[Path, Mapping[str, Any]], object] | None = None
    private: bool = False


def _mnist(name: str, size: int, sha256: str) -> RemoteFile:
    hosts = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
    return RemoteFile(name, size, sha256, tuple(host + name for host in hosts))


def _kth(name: str) -> tuple[str, ...]:
    return tuple(
        host + name for host in ("https://www.csc.kth.se/cvap/actions/", "http://www.nada.kth.se/cvap/actions/")
    )


def _whole_bair(folder: Path, arguments: Mapping[str, Any]) -> None:
    files = {part: softmotion.in_folder(folder, part) for part in softmotion.TRAJECTORIES}
    complete, remedy = arguments.get("complete", True), "put the others there"
    softmotion.chosen(files, arguments.get("train_files"), complete=complete, remedy=remedy)


SOURCES = {
    "mnist": Source(
        "LeCun, Cortes and Burges, The MNIST database of handwritten digits; CC BY-SA 3.0",
        (
            _mnist(
                "train-images-idx3-ubyte.gz",
                9912422,
                MNIST_SHA256["train-images-idx3-ubyte.gz"],
            ),
            _mnist(
                "train-labels-idx1-ubyte.gz",
                28881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            _mnist(
                "t10k-images-idx3-ubyte.gz",
                1648877,
                MNIST_SHA256["t10k-images-idx3-ubyte.gz"],
            ),
            _mnist(
                "t10k-labels-idx1-ubyte.gz",
                4542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
    ),
    "moving_mnist": Source(
        "Srivastava, Mansimov and Salakhutdinov (ICML 2015), the Moving MNIST test set; cite the paper",
        (
            RemoteFile(
                "mnist_test_seq.npy",
                819200096,
                MNIST_TEST_SEQ_SHA256,
                ("http://www.cs.toronto.edu/~nitish/unsupervised_video/mnist_test_seq.npy",),
            ),
        ),
    ),
    "moving_mnist_40": Source(
        "the test set of 40 frames for 10 → 30, drawn by framecast from MNIST's test digits; nothing else is fetched"
    ),
    "bair": Source(
        "Ebert, Finn, Lee and Levine (CoRL 2017), BAIR robot pushing, 30 GiB; cite the paper, no licence is stated",
        (
            RemoteFile(
                softmotion.TAR,
                softmotion.TAR_BYTES,
                softmotion.TAR_SHA256,
                (f"http://rail.eecs.berkeley.edu/datasets/{softmotion.TAR}",),
            ),
        ),
        folder=softmotion.FOLDER,
        whole=_whole_bair,
    ),
    "human36m": Source(
        "Ionescu, Papava, Olaru and Sminchisescu (TPAMI 2014), Human3.6M; for registered users, not to be passed on",
        private=True,
    ),
    "stocks": Source("one-minute prices of Alpha Vantage, under its terms of service, with your own key"),
    "stocks_daily": Source("daily prices of Alpha Vantage, under its terms of service, with your own key"),
    "vgg16": Source("Simonyan and Zisserman (ICLR 2015), VGG16 as trained in Oxford; CC BY 4.0"),
    "kth": Source(
        "Schuldt, Laptev and Caputo (ICPR 2004), Recognition of human actions; for research, cite the paper",
        (
            RemoteFile(KTH_LIST, KTH_LIST_SIZE, KTH_LIST_SHA256, _kth(KTH_LIST)),
            *(
                RemoteFile(f"{action}.zip", None, digest, _kth(f"{action}.zip"), "sha1", KTH_MB[action] * 10**6)
                for action, digest in KTH_SHA1.items()
            ),
        ),
    ),
}

TICKERS = ("GOOGL", "META", "MSFT", "NVDA", "TSLA")  # what the thesis loaded; META was FB then
MONTHS = (  # the service's trailing 24 months when the thesis was written (April 2022)
    *(f"2020-{month:02}" for month in range(4, 13)),
    *(f"2021-{month:02}" for month in range(1, 13)),
    *(f"2022-{month:02}" for month in range(1, 4)),
)


def fetch(name: str, raw: Path, *, say: Say = print) -> None:
    """Bring every file of a source into ``raw``; a file that is there and right is left alone.

    Raises UserError: an unknown name; a file here that is not the published one (it is never overwritten); nothing
    serves a file (each address that was tried, and why it failed). NotFinished: the day's requests are used.
    """
    if name not in SOURCES:
        raise UserError(f"fetch: found {name!r}; allowed: {', '.join(SOURCES)}")
    say(f"{name}: {SOURCES[name].terms}")
    if name.startswith("stocks"):
        _fetch_stocks(name, raw / "stocks", say)
    if name == "vgg16":
        _fetch_vgg16(raw, say)
    if name == "human36m":
        _list_human36m(raw / "human36m", say)
    if name == "moving_mnist_40":
        _draw_moving_mnist_40(raw, say)
    if _has_unpacked(name, raw, say) or (name == "kth" and _has_clips(raw / name, say)):
        return
    for file in SOURCES[name].files:
        _fetch_file(name, file, raw / name / file.name, say)


def ensure(dataset: str, entry: Entry, raw: Path, *, say: Say = print) -> None:
    """Copy a dataset's missing raw files from ``FRAMECAST_MIRROR`` where it has them, without touching the network.

    Does nothing without a mirror: ``prepare`` then says what is missing. UserError when the mirror's file is not the
    published one.
    """
    if (mirror := _mirror()) is None:
        return
    for name in catalogue.raw_sources(entry.kind, entry.arguments):
        say(f"dataset {dataset}: files of {name} from {MIRROR} where they are missing")
        _copy_missing(name, mirror, raw, say)


def _copy_missing(name: str, mirror: Path, raw: Path, say: Say) -> None:
    if name == "kth" and _copy_clips(mirror, raw / name, say):
        return
    if name.startswith("stocks") and not (raw / "stocks" / "SHA256SUMS").exists():
        _copy_stocks(mirror / "stocks", raw / "stocks", say)
    if _has_unpacked(name, raw, say):
        return
    for file in SOURCES[name].files:
        path = raw / name / file.name
        if not path.exists() and (held := _held(mirror, name, file)):
            _try_each(file, path, held, say)


def _fetch_file(name: str, file: RemoteFile, path: Path, say: Say) -> None:
    if path.exists():
        check = verify if file.algorithm == "sha256" else verify_sha1
        check(path, file.digest, remedy=f"run `framecast fetch {name}`")
        return say(f"{path}: already here, {file.algorithm} correct")
    mirror = _mirror()
    held = _held(mirror, name, file) if mirror else ()
    missing = [f"{mirror}: has no {name}/{file.name}"] if mirror and not held else []
    return _try_each(file, path, (*held, *file.urls), say, missing)


def _has_unpacked(name: str, raw: Path, say: Say) -> bool:
    """Whether the unpacked folder of a source is here, once what the mirror has of it beyond that was copied.

    A mirror that has the packed files too is copied from only where the folder is here already.
    """
    if (folder := SOURCES[name].folder) is None:
        return False
    here, mirror = raw / name / folder, _mirror()
    packed_held = mirror and any(_held(mirror, name, file) for file in SOURCES[name].files)
    for there in (mirror / name / folder, mirror / folder) if mirror and (here.is_dir() or not packed_held) else ():
        for path in sorted(one for one in there.rglob("*") if one.is_file()):
            if not (copy := here / path.relative_to(there)).exists():
                with replacing(copy) as partial:
                    shutil.copyfile(path, partial)
                say(f"{copy}: from {there}")
    if here.is_dir():
        say(f"{here}: here, unpacked; its checksums are looked at when it is read")
    return here.is_dir()


def _mirror() -> Path | None:
    """The folder that ``FRAMECAST_MIRROR`` names."""
    written = os.environ.get(MIRROR, "").strip()
    if not written:
        return None
    address = urllib.parse.urlsplit(written)
    folder = Path(urllib.request.url2pathname(address.path)) if address.scheme == "file" else Path(written)
    if not folder.is_dir():
        raise UserError(f"{MIRROR}: expected a folder or a file:// address of one, found {written!r}")
    return folder


def _held(mirror: Path, name: str, file: RemoteFile) -> tuple[str, ...]:
    """Addresses of a file in the mirror: in the source's folder, or bare."""
    paths = (mirror / name / file.name, mirror / file.name)
    return tuple(path.resolve().as_uri() for path in paths if path.is_file())


# --- one file, several addresses --------------------------------------------------------------------


def _try_each(file: RemoteFile, path: Path, urls: tuple[str, ...], say: Say, failures: list[str] | None = None) -> None:
    """Take the file from the first address that serves it whole and right."""
    failures = failures or []
    for url in urls:
        try:
            _retrieve(file, path, url)
        except (OSError, ValueError, HTTPException) as error:
            if isinstance(error, OSError) and error.errno in LOCAL_FAULTS:
                raise
            failures.append(f"{url}: {' '.join(str(error).split()) or type(error).__name__}")
            say(failures[-1])
        else:
            return say(f"{path}: {path.stat().st_size} bytes from {url}, {file.algorithm} correct")
    raise UserError(
        f"{path}: could not be fetched; tried {'; '.join(failures)}; put the file in a folder and name it in {MIRROR}, "
        "or try later"
    )


def _retrieve(file: RemoteFile, path: Path, url: str) -> None:
    """Download or resume, check, and give the file its name; OSError, ValueError or HTTPException says why not."""
    import pooch

    pooch.get_logger().setLevel("ERROR")
    part = path.with_name(path.name + ".part")
    resumed = part.exists()

    def receive(url: str, output: str, _: object) -> None:
        _receive(url, part, file.size)
        part.replace(output)

    def attempt() -> None:
        pooch.retrieve(url, f"{file.algorithm}:{file.digest}", path.name, path.parent, downloader=receive)

    try:
        attempt()
    except ValueError:  # pooch found another hash and threw the file away
        if not resumed:
            raise
        attempt()  # the older part may have been what was wrong


def _receive(url: str, part: Path, size: int | None) -> None:
    """Append to ``part`` what it lacks of ``size`` bytes, or start again where the server knows no ranges.

    Where the size was not published, the server's word counts until the hash is known.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    with _alone(part), part.open("ab") as output:
        if size is not None and output.tell() > size:
            output.seek(0)
            output.truncate()
        if (have := output.tell()) == size:
            return
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        try:
            response = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            if error.code == 416 and size is None and have:  # nothing comes after what is here
                return
            raise
        with response:
            offset, whole = _extent(response.status, response.headers)
            if None not in (whole, size) and whole != size:
                raise OSError(f"expected {size} bytes, found {whole}")
            size = size if size is not None else whole
            if offset != have:
                output.seek(0)
                output.truncate()
            with _progress(part.stem, output.tell(), size) as advance:
                while output.tell() <= (LARGEST if size is None else size) and (block := response.read(BLOCK)):
                    output.write(block)
                    advance(len(block))
        if size is not None and (found := output.tell()) != size:
            raise OSError(
                f"expected {size} bytes, found {found} (kept as {part.name}; the next attempt goes on from there)"
            )


def _extent(status: int | None, headers: Message) -> tuple[int, int | None]:
    """Where an answer starts in the file, and the size of the whole file where the server tells."""
    if status == 206:
        first, _, whole = (headers["Content-Range"] or "").removeprefix("bytes ").partition("/")
        return int(first.split("-")[0]), int(whole) if whole.isdecimal() else None
    length = headers["Content-Length"]
    return 0, int(length) if length else None


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Two downloads into one part would mix their bytes."""
    with Lock(part) as lock:
        if not lock.take():
            raise UserError(f"{part}: another `framecast fetch` is downloading this file; wait for it")
        yield


@contextmanager
def _progress(label: str, done: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(file=sys.stderr), disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda count: bar.update(task, advance=count)


# --- Moving MNIST, 40 frames ------------------------------------------------------------------------


def _draw_moving_mnist_40(raw: Path, say: Say) -> None:
    """Fetch the digits, and draw what ``prepare`` will draw from them, to see that it is the published set."""
    from framecast.data.moving_mnist import MovingMNIST, official_digits

    fetch("mnist", raw, say=say)
    dataset = MovingMNIST(variant="srivastava", horizon=30)
    drawn = dataset.drawn("test", len(official_digits(raw)["test"]))
    count, frames = drawn.positions.shape[:2]
    told = f"{count} sequences of {frames} frames, data_seed {dataset.data_seed}, sha256 {drawn.sha256} as published"
    say(f"moving_mnist_40: {told}; a dataset with horizon: 30 draws them when it is prepared")


# --- KTH ------------------------------------------------------------------------------------------


def _has_clips(folder: Path, say: Say) -> bool:
    """Whether clips of the user's own are listed here, all of them right, or have now been copied from the mirror.

    A list without the ranges of the clips is none that can be read.
    """
    index, mirror = folder / "SHA256SUMS", _mirror()
    if mirror:
        _copy_clips(mirror, folder, say)
    if not index.exists() or KTH_LIST not in (sums := read_sums(index)):
        return False
    for name, digest in sums.items():
        verify(folder / name, digest, remedy=f"list the folder anew, or delete {index} to fetch the archives")
    say(f"{index}: the files that it lists are here, sha256 correct; they stand in the place of the archives")
    return True


def _copy_clips(mirror: Path, folder: Path, say: Say) -> bool:
    """Copy unpacked clips and their list from a mirror without all archives, and list their sums as the user's own.

    False where the mirror has other files. Nothing happens where archives or such a list are here already.
    """
    archives, mirror = SOURCES["kth"].files[1:], mirror / "kth"
    clips = sorted(mirror.rglob("*.avi"))
    if all(_held(mirror.parent, "kth", file) for file in archives) or not clips or not (mirror / KTH_LIST).is_file():
        return False
    index = folder / "SHA256SUMS"
    if index.exists() or any(folder.glob("*.zip")):
        return True
    held = read_sums(mirror / index.name) if (mirror / index.name).is_file() else {}
    sums = {}
    for path in (mirror / KTH_LIST, *clips):
        name = path.relative_to(mirror)
        if not name.as_posix().isprintable():
            raise UserError(f"{mirror}: found {name.as_posix()!r}; allowed: printable names")
        if name.as_posix() in held:
            verify(path, held[name.as_posix()], remedy=f"mend the folder named in {MIRROR}")
        with replacing(folder / name) as partial:
            shutil.copyfile(path, partial)
        sums[name.as_posix()] = sha256_of(folder / name)
        say(f"{folder / name}: copied from {mirror}")
    write_sums(index, sums)
    return True


# --- stocks -----------------------------------------------------------------------------------------


def _fetch_stocks(name: str, folder: Path, say: Say) -> None:
    """From the mirror when it has them, else from the service with the user's key."""
    if (mirror := _mirror()) is not None and _copy_stocks(mirror / "stocks", folder, say):
        return
    from framecast.data.fetching.alpha_vantage import AlphaVantage, PriceFile

    months = MONTHS if name == "stocks" else (None,)
    wanted = [PriceFile(ticker, month) for ticker in TICKERS for month in months]
    AlphaVantage.from_environment(say).download(folder, wanted)


def _copy_stocks(mirror: Path, folder: Path, say: Say) -> bool:
    """Copy what the mirror's ``SHA256SUMS`` lists and add it to ours; False when the mirror has no such list.

    What arrives is a plain file inside ``folder`` with the listed content, whatever the mirror has under that name.
    """
    if not (mirror / "SHA256SUMS").is_file():
        return False
    index = folder / "SHA256SUMS"
    sums = read_sums(index) if index.is_file() else {}
    for name, expected in read_sums(mirror / "SHA256SUMS").items():
        path = folder / name
        if not name.isprintable() or not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{mirror / 'SHA256SUMS'}: found {name!r}, allowed: a printable name inside {folder}")
        if not path.exists():
            verify(mirror / name, expected, remedy=f"mend the folder named in {MIRROR}")
            with replacing(path) as partial:
                shutil.copyfile(mirror / name, partial)
        verify(path, expected, remedy="run `framecast fetch stocks`")
        sums[name] = expected
        say(f"{path}: sha256 correct")
    write_sums(index, sums)
    return True


# --- Human3.6M --------------------------------------------------------------------------------------


def _list_human36m(folder: Path, say: Say) -> None:
    """Nothing is fetched, which the licence forbids: the user's own images are listed with their sha256.

    An image that was listed before and has changed since is refused; one that is gone leaves the list.
    """
    index = folder / "SHA256SUMS"
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg") and path.is_file())
    if not found:
        raise UserError(
            f"{folder}: expected JPEG images with names like S11_Walking.60457274_001621.jpg, in folders of any name, "
            "found none; register at http://vision.imar.ro/human3.6m, and extract every fifth frame of the videos"
        )
    before, sums = read_sums(index) if index.is_file() else {}, {}
    for path in found:
        name = path.relative_to(folder).as_posix()
        if name in before:
            verify(path, before[name], remedy=f"put the right one back, or delete {index} to list all anew")
        sums[name] = before.get(name) or sha256_of(path)
    videos = in_videos(sums, folder)
    write_sums(index, sums)
    say(f"{index}: {sum(map(len, videos.values()))} images of {len(videos)} videos")


# --- VGG16 ------------------------------------------------------------------------------------------

VGG16_URL = "https://download.pytorch.org/models/vgg16_features-amdegroot-88682ab5.pth"
VGG16_DIGEST = "88682ab5"  #: PyTorch publishes the first digits of the sha256, in the name of the file
VGG16_NPZ = RemoteFile(
    "vgg16_conv1_1_to_conv2_2_oxford_rgb.npz",
    1043822,
    "ad7360f8088e1f75917f2933c794bce078a7621f42811f915c700b16d0b73d5f",
    (),
)


def _fetch_vgg16(raw: Path, say: Say) -> None:
    """Keep the four layers, 1 MB of the published 527.8, that the loss term ``perceptual`` reads.

    The mirror may hold the published file or the npz; with neither, the file is downloaded, and thrown away at the end.
    """
    from framecast.losses.features import vgg16_weights

    path = raw / catalogue.constant("losses.perceptual", "RAW_WEIGHTS")
    if path.exists():
        vgg16_weights.read(path)
        return say(f"{path}: already here, whole")
    name = VGG16_URL.rsplit("/", 1)[1]
    part = path.with_name(name + ".part")
    published, npz = _in_mirror("vgg16", name), _in_mirror("vgg16", VGG16_NPZ.name)
    if published is None and npz is not None:
        verify(npz, VGG16_NPZ.digest, remedy=f"mend the folder named in {MIRROR}")
        weights, origin = vgg16_weights.from_npz(npz), f"{npz.name}; Oxford's kernels, biases rounded by up to 1.2e-4"
    else:
        weights = vgg16_weights.from_torchvision(_checked_vgg16(published or _downloaded_vgg16(part, say)))
        origin = f"{name}; {'' if vgg16_weights.are_oxfords(weights) else 'not '}Oxford's kernels"
    vgg16_weights.keep(weights, origin, path)
    part.unlink(missing_ok=True)
    return say(f"{path}: four layers of VGG16 from {origin}")


def _downloaded_vgg16(part: Path, say: Say) -> Path:
    say(f"{VGG16_URL}: 527.8 MB, of which 1 MB is kept")
    try:
        with urllib.request.urlopen(urllib.request.Request(VGG16_URL, method="HEAD"), timeout=60) as response:
            size = _extent(response.status, response.headers)[1]
        _receive(VGG16_URL, part, size)
    except (OSError, ValueError, HTTPException) as error:
        if isinstance(error, OSError) and error.errno in LOCAL_FAULTS:
            raise
        raise UserError(
            f"{part.with_suffix('')}: could not be fetched; tried {VGG16_URL}: {' '.join(str(error).split())}; put the "
            f"file in a folder and name it in {MIRROR}, or write perceptual_seeded, which needs none, in params.yaml"
        ) from None
    return part


def _checked_vgg16(checkpoint: Path) -> Path:
    """The checkpoint, unless its sha256 does not start as published; a download is then thrown away."""
    if not (found := sha256_of(checkpoint)).startswith(VGG16_DIGEST):
        if downloaded := checkpoint.suffix == ".part":
            checkpoint.unlink()
        remedy = "run `framecast fetch vgg16` again" if downloaded else f"mend the folder named in {MIRROR}"
        raise UserError(f"{checkpoint}: expected sha256 {VGG16_DIGEST}…, found {found}; {remedy}")
    return checkpoint


def _in_mirror(source: str, name: str) -> Path | None:
    """A file of the mirror: in the source's folder, or bare."""
    mirror = _mirror()
    paths = (mirror / source / name, mirror / name) if mirror else ()
    return next((path for path in paths if path.is_file()), None)
