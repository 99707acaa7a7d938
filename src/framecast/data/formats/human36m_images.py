"""Human3.6M as extracted JPEG images: their names, and one image read (Ionescu, Papava, Olaru, Sminchisescu 2014).

``S11_Walking.60457274_001621.jpg`` is subject 11, action ``Walking``, camera 60457274, frame 1621 of the video at 50
frames a second, of which every fifth is there: 1, 6, 11, … A subject does most actions twice, and a name then ends in
the number of the take (``Walking 1``, ``Walking_1``). Which folders the images are in does not matter.
"""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from framecast.artifacts import sha256
from framecast.errors import UserError

STEP = 5  #: frames of the video from one stored image to the next
NAME = re.compile(r"S(\d{1,9})_(.+)\.(\d{1,9})_(\d{1,9})\.jpe?g", re.IGNORECASE)
TAKE = re.compile(r"[ _]\d$")

Crop = Literal["none", "central"]
Subject = Literal[1, 5, 6, 7, 8, 9, 11]
Camera = Literal[54138969, 55011271, 58860488, 60457274]
SUBJECTS: tuple[Subject, ...] = get_args(Subject)


@dataclass(frozen=True, order=True)
class Video:
    """What one camera saw of one take."""

    subject: int
    take: str  #: the action as the file name has it, ``Walking 1``
    camera: int

    @property
    def action(self) -> str:
        """Without the number of the take: ``Walking``."""
        return TAKE.sub("", self.take)

    def image(self, number: int) -> str:
        """The file name of a frame."""
        return f"S{self.subject}_{self.take}.{self.camera}_{number:06}.jpg"


def in_videos(names: Iterable[str], where: Path) -> dict[Video, dict[int, str]]:
    """Video → frame number → the name of its image, both in order.

    Raises UserError when a name does not fit, or one frame is there twice.
    """
    videos: dict[Video, dict[int, str]] = {}
    for name in names:
        if (match := NAME.fullmatch(Path(name).name)) is None:
            raise UserError(
                f"{where}: expected names like S11_Walking.60457274_001621.jpg, found {name!r}; mend it or take it out"
            )
        images = videos.setdefault(Video(int(match[1]), match[2], int(match[3])), {})
        if (number := int(match[4])) in images:
            raise UserError(f"{where}: expected each frame once, found {images[number]} and {name}")
        images[number] = name
    return {video: dict(sorted(videos[video].items())) for video in sorted(videos)}


def read_image(path: Path, digest: str, *, crop: Crop, size: int) -> UInt8[np.ndarray, "3 {size} {size}"]:
    """An image as RGB, cropped and averaged over areas down to size × size; ``central`` keeps the middle half each way.

    Raises UserError with path, expected and found when it is missing, altered, no RGB JPEG, or smaller than that.
    """
    if not path.is_file():
        raise UserError(f"{path}: expected an image, found none; run `framecast fetch human36m` to list what is there")
    content = path.read_bytes()
    if (found := sha256(content)) != digest:
        raise UserError(f"{path}: expected sha256 {digest}, found {found}; the image was changed or cut off")
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: expected a JPEG image, found {' '.join(str(error).split())}") from None
    width, height = image.size
    left, top = (width // 4, height // 4) if crop == "central" else (0, 0)
    if image.mode != "RGB" or min(width - 2 * left, height - 2 * top) < size:
        raise UserError(
            f"{path}: expected an RGB image of at least {size}×{size} pixels after crop {crop}, found {image.mode} of "
            f"{width}×{height}"
        )
    small = image.resize((size, size), Image.Resampling.BOX, (left, top, width - left, height - top))
    return np.asarray(small).transpose(2, 0, 1)
