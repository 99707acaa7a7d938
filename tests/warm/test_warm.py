"""A warm process is the program that it stands for: held against the real one, with a framecast of the test's own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests import warm
from tests.conftest import BIN, run, until

PRETENDED = '''
"""Shows what it is, or ends as it is told."""

import atexit, json, os, signal, sys, threading, time


def main():
    how, *given = sys.argv[1:]
    atexit.register(lambda: os.write(2, b"at exit\\n"))
    threading.Thread(target=lambda: (time.sleep(0.1), print("a thread's last word"))).start()
    print("out"), print("err", file=sys.stderr)
    if how == "show":
        shown = {"argv": sys.argv, "name": sys.argv[0], "cwd": os.getcwd(), "umask": oct(os.umask(0))}
        shown |= {"environment": dict(os.environ), "source": __file__, "custom": "custom" in sys.modules}
        shown |= {"stdin": sys.stdin.read(), "tty": sys.stdout.isatty(), "threads": threading.active_count()}
        shown |= {"path": sys.path[1:3], "signal": str(signal.getsignal(signal.SIGINT))}
        print(json.dumps(shown))
    elif how == "exit":
        sys.exit(eval(given[0]))
    elif how == "raise":
        raise eval(given[0])
    elif how == "die":
        os.kill(os.getpid(), int(given[0]))
    elif how == "wait":
        signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))
        print(os.getpid(), flush=True)
        time.sleep(600)
    return int(given[0]) if how == "return" else None
'''


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source tree with another framecast, and something for every Python that has it on its path."""
    package = tmp_path / "src" / "framecast"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(PRETENDED)
    (tmp_path / "src" / "sitecustomize.py").write_text("import custom\n")
    (tmp_path / "src" / "custom.py").touch()
    return tmp_path / "src"


def started(place: Path, *arguments: str, source: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(source)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([place / "framecast", *arguments], env=environment, text=True, cwd=source.parent, **pipes)


def test_it_has_what_whoever_asked_has(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THIS_TEST", "ä\n")
    before, shown = os.umask(0o027), []
    try:
        for place in (BIN, warm.programs()):
            out, err = started(place, "show", "a b", "ü", source=source).communicate("what is typed")
            assert err == "err\nat exit\n"
            word, told, last = out.splitlines()
            assert (word, last) == ("out", "a thread's last word")
            shown.append(json.loads(told.replace(str(place / "framecast"), "<program>")))
    finally:
        os.umask(before)
    for name in shown[0]:
        assert shown[0][name] == shown[1][name], name
    assert shown[0]["source"] == str(source / "framecast" / "cli.py")
    assert shown[0]["environment"]["OF_THIS_TEST"] == "ä\n"
    assert shown[0]["custom"]


ENDINGS = [
    ("return", "0"),
    ("return", "75"),
    ("exit", "None"),
    ("exit", "3"),
    ("exit", "'a word'"),
    ("raise", "ValueError('wrong')"),
    ("raise", "KeyboardInterrupt()"),
    ("die", str(int(signal.SIGTERM))),
    ("die", str(int(signal.SIGKILL))),
]


@pytest.mark.parametrize("how", ENDINGS, ids=" ".join)
def test_it_ends_as_the_real_one_ends(source: Path, how: tuple[str, str]) -> None:
    ended = []
    for cold in (True, False):
        done = run("framecast", *how, cwd=source, check=False, cold=cold, PYTHONPATH=str(source))
        told = [line for line in done.stderr.splitlines() if not line.startswith(("  ", "Traceback"))]
        ended.append((done.returncode, done.stdout, told))
    assert ended[0] == ended[1]


def test_a_signal_reaches_it_and_it_dies_with_what_stands_for_it(source: Path) -> None:
    for number, code in ((signal.SIGUSR1, 75), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)):
        with started(warm.programs(), "wait", source=source) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "out\n"
            child = psutil.Process(int(process.stdout.readline()))
            process.send_signal(number)
            assert process.wait() == code
            until(lambda child=child: not child.is_running(), "its end")


def test_what_only_a_start_can_heed_is_refused(source: Path) -> None:
    done = run("framecast", "return", "0", cwd=source, check=False, PYTHONHASHSEED="1")
    assert done.returncode == 125
    assert "another PYTHONHASHSEED: start the real program" in done.stderr


def test_two_at_once_have_nothing_in_common(source: Path) -> None:
    both = [started(warm.programs(), "wait", source=source) for _ in range(2)]
    pids = [process.stdout.read(4) and process.stdout.readline() for process in both if process.stdout]
    assert len(set(pids)) == 2
    both[0].kill()
    both[1].send_signal(signal.SIGUSR1)
    assert [process.wait() for process in both] == [-signal.SIGKILL, 75]
    for process in both:
        process.communicate()


COMMANDS = [
    ("framecast", "grid"),
    ("framecast", "nonsense"),
    ("framecast", "figure", "nonsense", "--run", "nowhere"),
    ("snakemake", "--dry-run"),
    ("dvc", "status"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_programs_say_the_same(study: Path, command: tuple[str, ...]) -> None:
    told = []
    for cold in (True, False):
        done = run(*command, cwd=study, check=False, cold=cold)
        told.append((done.returncode, done.stdout, done.stderr))
    assert told[0] == told[1]


def test_its_own_python_is_in_an_environment_like_this_one() -> None:
    ask = "import sys, pytest; print(sys.prefix, pytest.__version__, sys.version)"
    told = subprocess.run([warm.programs() / "python", "-c", ask], capture_output=True, text=True, check=True).stdout
    assert told == f"{warm.programs().parent} {pytest.__version__} {sys.version}\n"
