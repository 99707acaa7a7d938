"""``00sequences.txt``: the published list as a whole, and every way in which a line can be wrong."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from framecast.data.formats.kth_sequences import SHA256, SIZE, Clip, read_segments
from framecast.errors import UserError
from tests.conftest import ROOT

PUBLISHED = ROOT / ".." / "shared" / "data" / "kth" / "00sequences.txt"
LISTED = b"\r\nTest:       person22, 02, 03 \r\n\r\n\r\nperson01_boxing_d1\t\tframes\t1-95, 96-185\r\n"


def listed(path: Path, *lines: bytes) -> Path:
    path.write_bytes(LISTED + b"".join(line + b"\r\n" for line in lines))
    return path


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs the published 00sequences.txt, absent here")
def test_the_published_list() -> None:
    content = PUBLISHED.read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (SIZE, SHA256)
    segments = read_segments(PUBLISHED)
    assert Counter(map(len, segments.values())) == {4: 594, 3: 5, 0: 1}
    assert segments[Clip("handclapping", 13, 3)] == ()
    assert segments[Clip("jogging", 7, 4)] == ((1, 64), (270, 332), (194, 264), (490, 570)), "kept as written"
    last = {name: segments[clip][-1][1] for name in LAST if (clip := Clip.named(name))}
    assert last == LAST
    assert {(clip.person, clip.action, clip.scenario) for clip in segments} == {
        (person, action, scenario)
        for person in range(1, 26)
        for action in ("walking", "jogging", "running", "boxing", "handwaving", "handclapping")
        for scenario in range(1, 5)
    }


#: Frames of the clips at hand, which are all in a range.
LAST = {"person01_handwaving_d1": 468, "person04_boxing_d1": 328, "person04_running_d1": 242}


def test_prose_blank_lines_and_spaces_are_no_clips(tmp_path: Path) -> None:
    path = listed(
        tmp_path / "list.txt", b"", b"person02_walking_d4    \tframes\t9-9,  3-8  ", b"person03_running_d2 *missing*"
    )
    assert read_segments(path) == {
        Clip("boxing", 1, 1): ((1, 95), (96, 185)),
        Clip("walking", 2, 4): ((9, 9), (3, 8)),
        Clip("running", 3, 2): (),
    }


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"person26_walking_d1\tframes\t1-9", "found 'person26_walking_d1"),
        (b"person02_walking_d5\tframes\t1-9", "found 'person02_walking_d5"),
        (b"person02_dancing_d1\tframes\t1-9", "found 'person02_dancing_d1"),
        (b"person02_walking_d1\tframes\t1-9,", "expected 'personNN_action_dM frames a-b"),
        (b"person02_walking_d1\tframes", "expected 'personNN_action_dM frames a-b"),
        (b"person02_walking_d1\tframes\t1-9 11-19", "expected 'personNN_action_dM frames a-b"),
        (b"person02_walking_d1\tframes\t1 -9", "expected 'personNN_action_dM frames a-b"),
        (b"person02_walking_d1\tframes\t\xb2-9", "expected 'personNN_action_dM frames a-b"),
        (b"qerson02_walking_d1\tframes\t1-9", "found 'qerson02"),
        (b"person02_walking_d1\tframes\t9-1", "1 ≤ a ≤ b ≤ 1000000, found 9-1"),
        (b"person02_walking_d1\tframes\t0-9", "found 0-9"),
        (b"person02_walking_d1\tframes\t1-9999999", "found 1-9999999"),
        (b"person01_boxing_d1\t\tframes\t1-95", "expected each clip once, found person01_boxing_d1 again"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes, told: str) -> None:
    path = listed(tmp_path / "list.txt", line)
    with pytest.raises(UserError) as refused:
        read_segments(path)
    assert str(refused.value).startswith(f"{path}, line 6: ")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"\r\n", b"only prose\r\n"])
def test_a_list_without_a_clip_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(UserError, match="found none"):
        read_segments(tmp_path / "list.txt")
