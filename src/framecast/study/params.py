"""``params.yaml`` as frozen models: the one source of truth for both engines."""

from typing import Annotated, Any, Literal

from annotated_types import Interval
from pydantic import AfterValidator, Field, model_validator

from framecast.ranges import Decay, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Reduction, each_once
from framecast.study import catalogue
from framecast.study.mistakes import LONGEST_NAME, Section, shown

AFFECTS_NUMBERS = False  # what was resolved is in the keys


def _valid_name(name: str) -> str:
    """Names become folders and shell words, so they are plain and short."""
    if len(name) > LONGEST_NAME:
        raise ValueError(f"found a name of {len(name)} letters; allowed: at most {LONGEST_NAME}")
    if not name.replace("_", "").isalnum() or not name.isascii() or name != name.lower():
        raise ValueError(f"found {shown(name)}; allowed: a name of lower-case letters, digits and underscores")
    return name


Name = Annotated[str, AfterValidator(_valid_name)]
Names = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(each_once)]
Depth = Annotated[int, Interval(gt=0, le=1000)]
Depths = Annotated[tuple[Depth, ...], Field(min_length=1), AfterValidator(each_once)]


class Product(Section):
    """Four lists; every combination of them is wanted."""

    datasets: Names
    models: Names
    depths: Depths
    losses: Names


class Addition(Section):
    """A further product of a study: the lists that differ from the study's own; one that is not there is the same."""

    datasets: Names = ()
    models: Names = ()
    depths: Depths = ()
    losses: Names = ()

    def __str__(self) -> str:
        """As it is written, in a message."""
        lists = ", ".join(f"{axis}: [{', '.join(map(str, names))}]" for axis, names in self if names)
        return f"{{{lists}}}"


class Study(Product):
    """A view of the grid: the product of its lists, and ``also`` of others. A cell that two products share is one."""

    title: str = ""
    also: Annotated[tuple[Addition, ...], AfterValidator(each_once)] = ()

    @property
    def products(self) -> tuple[Product, ...]:
        """The study's own lists, then those of each addition with its gaps filled in."""
        own = {axis: getattr(self, axis) for axis in Product.model_fields}
        return tuple(Product(**{**own, **more.model_dump(exclude_defaults=True)}) for more in (Addition(), *self.also))

    def every(self, axis: Literal["datasets", "models", "losses"]) -> tuple[str, ...]:
        """What one axis holds in any of the products, in the order of the file."""
        return tuple(dict.fromkeys(name for product in self.products for name in getattr(product, axis)))

    @property
    def systems(self) -> tuple[tuple[str, str, int], ...]:
        """(model, loss, depth) of every product, each once."""
        listed = (
            (model, loss, depth)
            for product in self.products
            for model in product.models
            for loss in product.losses
            for depth in product.depths
        )
        return tuple(dict.fromkeys(listed))


class Entry(Section):
    """A named dataset or model: ``kind`` (the module) and that kind's own keyword arguments, written side by side."""

    kind: Name
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, written: Any) -> Any:
        """Every key that is not the entry's own is an argument of its kind."""
        if not isinstance(written, dict):
            return written
        own = {key: value for key, value in written.items() if key in cls.model_fields and key != "arguments"}
        return {**own, "arguments": {key: value for key, value in written.items() if key not in own}}


class ModelEntry(Entry):
    """A named model; ``training`` holds what its recipe changes in the training section.

    ``training_on`` holds what it changes further on a dataset: data set → changes. ``replication`` marks one that is
    known to leak, as the published one does that it repeats.
    """

    replication: bool = False
    training: dict[str, Any] = Field(default_factory=dict)
    training_on: dict[Name, dict[str, Any]] = Field(default_factory=dict)


class Training(Section):
    """How a cell is trained. A model's own ``training`` overrides any of these, and its ``training_on`` a dataset that.

    ``horizon`` is how many frames after the context a system is trained to forecast, where that is fewer than its
    dataset's: of every sequence of the training and validation splits it then sees so many and no more. It is scored on
    all of them, beyond what it was trained on.

    The four fields after ``schedule`` are read by the schedule ``plateau`` alone, but for ``learning_rate_floor``, to
    which ``cosine`` falls, too. The schedule ``one_cycle`` has a β₁ of its own. ``sampling_start`` and
    ``sampling_decay`` are read by the sampling ``reverse`` alone; training/sampling.py says what the sampling does.
    With ``reverse_input`` a step makes a second update, on its batch with time reversed.
    """

    epochs: PositiveInt
    batch_size: PositiveInt
    horizon: PositiveInt | None = None
    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    learning_rate: PositiveFloat
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0
    schedule: Literal["constant", "cosine", "one_cycle", "plateau"] = "constant"
    plateau_factor: Reduction = 0.2
    plateau_patience: PositiveInt = 3
    plateau_min_delta: NonNegativeFloat = 1e-4
    learning_rate_floor: NonNegativeFloat = 1e-6
    sampling: Literal["none", "scheduled", "reverse"] = "none"
    sampling_unit: Literal["iterations", "run"] = "iterations"
    sampling_start: NonNegativeFloat = 25_000.0
    sampling_end: PositiveFloat = 50_000.0
    sampling_decay: PositiveFloat = 5_000.0
    reverse_input: bool = False
    clip_norm: PositiveFloat | None = None
    clip_norm_each: PositiveFloat | None = None
    flips: bool = False
    rotations: bool = False
    noise: NonNegativeFloat = 0.0
    precision: Literal["float32", "bf16"] = "float32"
    channels_last: bool = False
    compile: Literal["off", "default", "reduce-overhead"] = "off"
    threads: Annotated[int, Interval(gt=0, le=1024)] = 1
    log_every: PositiveInt = 50
    validate_every: PositiveInt = 1
    selection: Literal["best_validation", "last"] = "best_validation"
    early_stopping: NonNegativeInt = 0


Mode = Literal["free-running", "teacher-forced"]


class Evaluation(Section):
    """What is measured on the test split.

    ``primary`` leads tables and figures. The paired bootstrap compares it and what ``compared`` adds. ``protocols``
    says in which modes a dataset's test sequences are scored, and how many frames of each are observed: every frame
    after them is forecast, from true frames (teacher-forced) or from forecasts (free-running).
    """

    metrics: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(each_once)]
    primary: str = "mse_pix01"
    compared: Annotated[tuple[str, ...], AfterValidator(each_once)] = ()
    protocols: dict[Name, Annotated[dict[Mode, PositiveInt], Field(min_length=1)]] = Field(default_factory=dict)
    batch_size: PositiveInt = 64
    clips: Annotated[int, Field(ge=1, le=64)] = 4
    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = 2000


class Scale(Section):
    """What a scale changes: a partial copy of the tree above it."""

    seeds: tuple[NonNegativeInt, ...] | None = None
    without: Annotated[tuple[Name, ...], AfterValidator(each_once)] = ()  #: studies that the scale leaves out
    studies: dict[str, dict[str, Any]] = Field(default_factory=dict)
    datasets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    models: dict[str, dict[str, Any]] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    evaluation: dict[str, Any] = Field(default_factory=dict)
    figures: dict[str, Any] = Field(default_factory=dict)


class Params(Section):
    """The whole study, scale applied, every name resolved and every keyword argument filled in."""

    scale: Name
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1), AfterValidator(each_once)]
    studies: Annotated[dict[Name, Study], Field(min_length=1)]
    datasets: dict[Name, Entry]
    models: dict[Name, ModelEntry]
    baselines: Annotated[tuple[Name, ...], AfterValidator(each_once)]
    losses: dict[Name, Annotated[dict[Name, Any], Field(min_length=1)]]
    training: Training
    evaluation: Evaluation
    figures: dict[Name, Literal["all", "series", "video", "none"] | Names]
    scales: dict[Name, Scale]

    def recipe(self, model: str, dataset: str) -> Training:
        """The training section with the model's own changes, and with those for this dataset."""
        entry = self.models[model]
        return self.training.model_copy(update=entry.training | entry.training_on.get(dataset, {}))

    def frames(self, dataset: str) -> str:
        """``series`` or ``video``: what a dataset holds."""
        return catalogue.frames("data", self.datasets[dataset].kind)

    def protocols(self, dataset: str) -> dict[Mode, int]:
        """How a dataset's test sequences are scored: mode → observed frames, the one that leads first.

        Where nothing is said: free-running, from the frames that are observed in training.
        """
        stated = self.evaluation.protocols.get(dataset)
        return dict(stated) if stated else {"free-running": self.datasets[dataset].arguments["context"]}

    def compared(self, dataset: str) -> tuple[str, ...]:
        """The metrics that the paired bootstrap compares on a dataset: the primary one first, none that needs video
        on a series."""
        wanted = dict.fromkeys((self.evaluation.primary, *self.evaluation.compared))
        fits = ("any", self.frames(dataset))
        return tuple(name for name in wanted if catalogue.frames("metrics", catalogue.metrics()[name][0]) in fits)

    def is_drawn(self, figure: str, dataset: str) -> bool:
        """Whether a figure is wanted of a dataset."""
        drawn_for = self.figures[figure]
        return dataset in drawn_for if isinstance(drawn_for, tuple) else drawn_for in ("all", self.frames(dataset))
