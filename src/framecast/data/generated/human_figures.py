"""Small people who walk, jog, run, box, clap and wave before a plain ground: the stand-in for KTH.

Written as the published set is: one AVI file per person, action and scenario, ``00sequences.txt`` with the frames that
show somebody, and ``SHA256SUMS``. Who walks by is seen several times, in turn from either side, and nobody is in view
between; who boxes, claps or waves stays in place and does it in four parts.

A person has a build, a tempo and clothes of their own; scenarios 2 to 4 differ as the published ones do, in scale,
clothes and light. Everything is a function of (seed, clip).
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from framecast.artifacts import sha256_of, write_text
from framecast.data.formats.kth_sequences import ACTIONS, NAME, Clip, Segment
from framecast.data.formats.sha256sums import write_sums
from framecast.data.formats.video import write_lossless

HEIGHT, WIDTH, RATE = 120, 160, 25
PARTS = 4  #: ranges of a clip
FRAMES = 44  #: of a part in which the person stays in place
EMPTY = 6  #: frames between two crossings, with nobody in view
STRIDE = {"walking": 4.0, "jogging": 5.2, "running": 7.0}  # pixels a frame, of a person 80 pixels tall
PACE = {"walking": 1 / 26, "jogging": 1 / 20, "running": 1 / 16}  # steps with either leg, a frame
LEAN = {"walking": 1.0, "jogging": 4.0, "running": 7.0}  # of the shoulders before the hips, pixels
HOP = {"walking": 0.0, "jogging": 2.0, "running": 4.0}  # pixels off the ground
GAIT = {"walking": (0.55, 0.5), "jogging": (0.75, 0.9), "running": (0.95, 1.3)}  # swing of a leg, bend of a knee: rad
FINE = 2  #: drawn at twice the size, then averaged
Point = tuple[float, float]


def write_stand_in(folder: Path, clips: Iterable[Clip], seed: int) -> None:
    """The files of these clips in ``folder``: ``<action>/<clip>_uncomp.avi``, the list of ranges, the sums."""
    sums, lines = {}, ["Figures drawn by framecast in place of the KTH recordings", ""]
    for clip in sorted(clips, key=lambda clip: (clip.person, clip.action, clip.scenario)):
        figure = Figure(clip, seed)
        name = f"{clip.action}/{clip}_uncomp.avi"
        (folder / clip.action).mkdir(parents=True, exist_ok=True)
        write_lossless(folder / name, figure.frames(), rate=RATE)
        sums[name] = sha256_of(folder / name)
        lines.append(f"{clip}\tframes\t" + ", ".join(f"{first}-{last}" for first, last in figure.segments))
    write_text(folder / NAME, "\r\n".join(lines) + "\r\n")
    write_sums(folder / "SHA256SUMS", sums | {NAME: sha256_of(folder / NAME)})


class Brush:
    """Rounded strokes, measured on a person 80 pixels tall: right of, and above, the point between the feet."""

    def __init__(self, pen: ImageDraw.ImageDraw, scale: float, feet: Point) -> None:
        self.pen, self.scale, self.feet = pen, scale, feet

    def limb(self, joints: list[Point], shade: int, thick: float) -> None:
        """A stroke through the joints; a disc where there is one."""
        (x, y), scale = self.feet, self.scale
        placed = [(FINE * (x + scale * right), FINE * (y - scale * up)) for right, up in joints]
        width = max(1, round(FINE * scale * thick))
        if len(placed) > 1:
            self.pen.line(placed, fill=shade, width=width, joint="curve")
        for x, y in (placed[0], placed[-1]):
            self.pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=shade)


class Figure:
    """One clip: a person with an action before a ground."""

    def __init__(self, clip: Clip, seed: int) -> None:
        person = np.random.Generator(np.random.Philox(key=[seed, clip.person]))
        number = (clip.person * len(ACTIONS) + ACTIONS.index(clip.action)) * 8 + clip.scenario
        recording = np.random.Generator(np.random.Philox(key=[seed, 1000 + number]))
        tall, tempo, self.bent, skin, coat, trousers = person.random(6)
        self.action = clip.action
        self.tall = 74 + 14 * tall
        self.tempo = (0.85 + 0.3 * tempo) * (0.95 + 0.1 * recording.random())
        self.phase = 2 * math.pi * recording.random()
        self.zoom = clip.scenario == 2
        light = 0.8 if clip.scenario == 4 else 1.0
        shades = (150 + 40 * skin, 40 + 50 * coat, 20 + 50 * trousers)
        if clip.scenario == 3:  # other clothes
            shades = (shades[0], 110 + 25 * coat, shades[2] + 30)
        self.skin, self.coat, self.trousers = (round(light * shade) for shade in shades)
        self.ground = self._ground(recording, light)
        self.left_first = recording.random() < 0.5

    @property
    def crosses(self) -> bool:
        """Whether the person comes and goes."""
        return self.action in STRIDE

    @property
    def speed(self) -> float:
        """Pixels a frame."""
        return STRIDE[self.action] * self.tempo * self.tall / 80

    @property
    def part(self) -> int:
        """Frames of one part: until a person has crossed the view from edge to edge, or ``FRAMES``."""
        return math.ceil((WIDTH + 0.5 * self.tall) / self.speed) if self.crosses else FRAMES

    @property
    def segments(self) -> list[Segment]:
        """The parts with somebody in view; crossings lie ``EMPTY`` frames apart, other parts touch."""
        pause = EMPTY if self.crosses else 0
        starts = [1 + part * (self.part + pause) for part in range(PARTS)]
        return [(start, start + self.part - 1) for start in starts]

    def frames(self) -> Iterator[UInt8[np.ndarray, "120 160"]]:
        """Every frame of the clip, those with nobody in view too."""
        shown = {
            frame: (part, frame - first)
            for part, (first, last) in enumerate(self.segments)
            for frame in range(first, last + 1)
        }
        for number in range(1, self.segments[-1][1] + 1):
            image = self.ground.copy()
            if number in shown:
                self._draw(image, number, *shown[number])
            yield np.asarray(image.reduce(FINE))

    @staticmethod
    def _ground(draw: np.random.Generator, light: float) -> Image.Image:
        """Paler above the horizon than below it, with a faint slope of light."""
        sky, floor = light * (185 + 25 * draw.random()), light * (150 + 25 * draw.random())
        horizon, slope = round(FINE * HEIGHT * 0.72), 12 * (draw.random() - 0.5)
        levels = np.full((FINE * HEIGHT, FINE * WIDTH), sky)
        levels[horizon:] = floor
        return Image.fromarray(np.rint(levels + np.linspace(-slope, slope, FINE * WIDTH)).clip(0, 255).astype(np.uint8))

    def _draw(self, image: Image.Image, number: int, part: int, step: int) -> None:
        """Paint the person: limbs behind, trunk and head, limbs in front."""
        turn = self.phase + 2 * math.pi * number * self.tempo / 25
        scale = self.tall * (0.75 + 0.25 * math.sin(turn / 6) if self.zoom else 1) / 80
        heading, centre = 1, WIDTH / 2 + 3 * math.sin(self.phase)
        if self.crosses:
            heading = 1 if (part % 2 == 0) == self.left_first else -1
            margin = 0.25 * self.tall
            centre = -margin + self.speed * step if heading > 0 else WIDTH + margin - self.speed * step
            turn = self.phase + 2.4 * part + 2 * math.pi * step * PACE[self.action] * self.tempo
        limbs, lift = self._pose(turn, heading)
        brush = Brush(ImageDraw.Draw(image), scale, (centre, HEIGHT * 0.93 - scale * lift))
        lean = LEAN.get(self.action, 0.0) * heading
        brush.limb(limbs["far leg"], self.trousers + 12, 7.0)
        brush.limb(limbs["far arm"], self.coat + 12, 5.0)
        brush.limb([(0.0, 40.0), (lean, 62.0)], self.coat, 13.0)
        brush.limb([(1.3 * lean, 74.0)], self.skin, 13.0)
        brush.limb(limbs["near leg"], self.trousers, 7.0)
        brush.limb(limbs["near arm"], self.coat, 5.0)
        brush.limb(limbs["near arm"][-1:], self.skin, 6.0)

    def _pose(self, turn: float, heading: int) -> tuple[dict[str, list[Point]], float]:
        """Joints of the four limbs in pixels of a person 80 tall, feet at height 0; and how high both feet are off."""
        if self.crosses:
            return self._striding(turn, heading)
        legs = {
            side: [(x, 40.0), (1.3 * x, 20.0), (1.6 * x, 1.0)] for side, x in (("near leg", 4.0), ("far leg", -4.0))
        }
        arms = {}
        for side, sign, beat in (("near arm", 1, turn), ("far arm", -1, turn + math.pi)):
            shoulder = (6.0 * sign, 62.0)
            if self.action == "boxing":  # straight punches to one side, in turn; slightly oblique
                reach = 0.5 + 0.5 * math.sin(2 * beat)
                elbow, hand = (6 + 7 * reach, 55 + 4 * reach), (13 + 20 * reach, 62.0)
                shoulder = (3.0 * sign, 62.0)
            elif self.action == "handclapping":
                apart = 0.5 + 0.5 * math.cos(2.2 * turn)
                elbow, hand = (sign * (10 + 6 * apart), 52.0), (sign * (1 + 24 * apart), 60 - 4 * apart)
            else:  # waving: both arms up and down at the sides
                raised = -0.9 + 1.9 * (0.5 + 0.5 * math.sin(1.4 * turn))
                elbow = (shoulder[0] + sign * 13 * math.cos(raised), shoulder[1] + 13 * math.sin(raised))
                forearm = raised + 0.35
                hand = (elbow[0] + sign * 13 * math.cos(forearm), elbow[1] + 13 * math.sin(forearm))
            arms[side] = [shoulder, elbow, hand]
        return legs | arms, 0.0

    def _striding(self, turn: float, heading: int) -> tuple[dict[str, list[Point]], float]:
        """A gait: each leg swings like a pendulum, its knee bends while it comes forward, arms swing against them."""
        swing, bend = GAIT[self.action]
        limbs, lowest = {}, 40.0
        for side, beat in (("near leg", turn), ("far leg", turn + math.pi)):
            thigh = swing * math.sin(beat)
            shin = thigh - bend * (0.5 + 0.5 * math.cos(beat)) - 0.1
            knee = (heading * 20 * math.sin(thigh), 40 - 20 * math.cos(thigh))
            ankle = (knee[0] + heading * 20 * math.sin(shin), knee[1] - 20 * math.cos(shin))
            limbs[side] = [(0.0, 40.0), knee, ankle]
            lowest = min(lowest, ankle[1])
        lean = LEAN[self.action] * heading
        for side, beat in (("near arm", turn + math.pi), ("far arm", turn)):
            upper = 0.8 * swing * math.sin(beat)
            fore = upper + (0.3 + 0.3 * self.bent if self.action == "walking" else 1.4)
            elbow = (lean + heading * 12 * math.sin(upper), 62 - 12 * math.cos(upper))
            limbs[side] = [
                (lean, 62.0),
                elbow,
                (elbow[0] + heading * 12 * math.sin(fore), elbow[1] - 12 * math.cos(fore)),
            ]
        hop = abs(math.sin(turn)) * HOP[self.action]
        return limbs, hop - lowest
