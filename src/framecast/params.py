"""``params.yaml`` as frozen models: the one source of truth for both engines.

Everything wrong with the file is told in one line with the key's path, what was found and what is allowed, before
anything runs. The parameters of a dataset, model or loss term are the keyword-only arguments of its class or
function, so their names, types, bounds and defaults are written once, in its own file (``catalogue.py``).
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from framecast import catalogue, ranges
from framecast.errors import UserError
from framecast.ranges import Decay, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Reduction

PARAMS = Path("params.yaml")
LONGEST_NAME = 64  #: file systems take 255 bytes, some of which our endings need


def _valid_name(name: str) -> str:
    """Names become folders and shell words, so they are plain and short."""
    if len(name) > LONGEST_NAME:
        raise ValueError(f"found a name of {len(name)} letters; allowed: at most {LONGEST_NAME}")
    if not name.replace("_", "").isalnum() or not name.isascii() or name != name.lower():
        raise ValueError(f"found {_shown(name)}; allowed: a name of lower-case letters, digits and underscores")
    return name


Name = Annotated[str, AfterValidator(_valid_name)]


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if doubled := sorted({str(value) for value in values if values.count(value) > 1}):
        raise ValueError(f"found {', '.join(doubled)} twice; allowed: each once")
    return values


class Section(BaseModel):
    """A part of ``params.yaml``: frozen, and without room for a key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Names = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_unique)]
Depths = Annotated[tuple[PositiveInt, ...], Field(min_length=1), AfterValidator(_unique)]


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


class Study(Product):
    """A view of the grid: the product of its lists, and ``also`` of others. A cell that two products share is one."""

    title: str = ""
    also: Annotated[tuple[Addition, ...], AfterValidator(_unique)] = ()

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


E = TypeVar("E", bound=Entry)
S = TypeVar("S", bound=BaseModel)


class ModelEntry(Entry):
    """A named model; ``training`` holds what its recipe changes in the training section.

    ``replication`` marks one that is known to leak, as the published one does that it repeats.
    """

    replication: bool = False
    training: dict[str, Any] = Field(default_factory=dict)


class Training(Section):
    """How a cell is trained. A model's own ``training`` overrides any of these.

    The four fields after ``schedule`` are read by the schedule ``plateau`` alone; no other has a use for them. The
    schedule ``one_cycle`` has a β₁ of its own.
    """

    epochs: PositiveInt
    batch_size: PositiveInt
    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    learning_rate: PositiveFloat
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0
    schedule: Literal["constant", "cosine", "one_cycle", "plateau"] = "constant"
    plateau_factor: Reduction = 0.2
    plateau_patience: PositiveInt = 3
    plateau_min_delta: NonNegativeFloat = 1e-4
    learning_rate_floor: NonNegativeFloat = 1e-6
    clip_norm: PositiveFloat | None = None
    clip_norm_each: PositiveFloat | None = None
    flips: bool = False
    rotations: bool = False
    noise: NonNegativeFloat = 0.0
    precision: Literal["float32", "bf16"] = "float32"
    channels_last: bool = False
    compile: Literal["off", "default", "reduce-overhead"] = "off"
    threads: PositiveInt = 1
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

    metrics: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_unique)]
    primary: str = "mse_pix01"
    compared: Annotated[tuple[str, ...], AfterValidator(_unique)] = ()
    protocols: dict[Name, Annotated[dict[Mode, PositiveInt], Field(min_length=1)]] = Field(default_factory=dict)
    batch_size: PositiveInt = 64
    clips: Annotated[int, Field(ge=1, le=64)] = 4
    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = 2000


class Scale(Section):
    """What a scale changes: a partial copy of the tree above it."""

    seeds: tuple[NonNegativeInt, ...] | None = None
    studies: dict[str, dict[str, Any]] = Field(default_factory=dict)
    datasets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    models: dict[str, dict[str, Any]] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    evaluation: dict[str, Any] = Field(default_factory=dict)


class Params(Section):
    """The whole study, scale applied, every name resolved and every keyword argument filled in."""

    scale: Name
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1), AfterValidator(_unique)]
    studies: Annotated[dict[Name, Study], Field(min_length=1)]
    datasets: dict[Name, Entry]
    models: dict[Name, ModelEntry]
    baselines: Annotated[tuple[Name, ...], AfterValidator(_unique)]
    losses: dict[Name, Annotated[dict[Name, Any], Field(min_length=1)]]
    training: Training
    evaluation: Evaluation
    figures: dict[Name, Literal["all", "series", "video"] | Names]
    scales: dict[Name, Scale]

    def recipe(self, model: str) -> Training:
        """The training section with the model's own changes."""
        return self.training.model_copy(update=self.models[model].training)

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


def load(path: Path = PARAMS) -> Params:
    """Read, check and resolve ``params.yaml``.

    Raises UserError (one line: file, key path, found, allowed) for anything that is not as it should be.
    """
    return resolve(read_yaml(path), str(path))


def read_yaml(path: Path) -> Any:
    """The tree of a YAML file; UserError, one line, when it is missing, not UTF-8, or not YAML with every key once."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run framecast from the root of the repository") from None
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}" if error.problem_mark else "unclear where"
        what = f"{error.problem or error.context}; allowed: valid YAML, every key once, no tabs"
        raise UserError(f"{path}: {where}: {' '.join(what.split())}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable: {' '.join(str(error).split())}; allowed: YAML in UTF-8") from None


def read_section(path: Path, model: type[S], changes: dict[str, Any]) -> S:
    """A file that holds one section, with ``changes`` laid over it; UserError with the key for what is wrong."""
    tree = read_yaml(path) or {}
    try:
        if not isinstance(tree, dict):
            raise _Wrong((), f"found {_shown(tree)}; allowed: a mapping")
        _refuse_what_yaml_made(tree, ())
        return _validated(model, {**tree, **changes}, ())
    except _Wrong as wrong:
        raise UserError(
            " ".join(f"{path}: {'.'.join(map(_plain, wrong.path)) or 'top level'}: {wrong.what}".split())
        ) from None


def resolve(tree: Any, source: str = "params.yaml") -> Params:
    """Check a parsed tree as it is written and under each of its scales; ``source`` names the file in messages.

    All of it is checked, not only the chosen scale: a wrong published value must not wait for the day on which
    somebody types ``scale: paper``.
    """
    try:
        if not isinstance(tree, dict):
            raise _Wrong((), f"found {_shown(tree)}; allowed: a mapping of sections")
        _refuse_what_yaml_made(tree, ())
        written = _checked(_validated(Params, tree, ()))
        if written.scale not in written.scales:
            raise _Wrong(("scale",), _unknown(written.scale, written.scales))
        return {scale: _scaled(tree, scale) for scale in written.scales}[written.scale]
    except _Wrong as wrong:
        line = f"{source}: {'.'.join(map(_plain, wrong.path)) or 'top level'}: {wrong.what}"
        raise UserError(" ".join(line.split())) from None


class _Wrong(Exception):
    def __init__(self, path: tuple[Any, ...], what: str) -> None:
        self.path, self.what = path, what


class _Loader(yaml.SafeLoader):
    """YAML without its two traps: a key written twice is refused, and 1e-3 is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        written: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *other`, whose keys may be written anew
                continue
            key = self.construct_object(key_node, deep=True)
            if key in written:
                raise yaml.MarkedYAMLError(
                    problem=f"found the key {key!r} for the second time", problem_mark=key_node.start_mark
                )
            written.append(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


# --- scale ----------------------------------------------------------------------------------------


def _scaled(tree: dict[str, Any], scale: str) -> Params:
    """The tree under a scale's changes. What is wrong now and was not before, stands in those changes."""
    changes = tree["scales"][scale]
    try:
        for section in ("studies", "datasets", "models"):
            _known((section,), changes.get(section, {}), tree[section])
        return _checked(_validated(Params, _merged(tree, changes), ()))
    except _Wrong as wrong:
        raise _Wrong(("scales", scale, *wrong.path), wrong.what) from None


def _merged(base: Any, change: Any) -> Any:
    """``change`` laid over ``base``: mappings key by key, anything else replaced."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return {**base, **{key: _merged(base.get(key), value) for key, value in change.items()}}


# --- checks across sections -----------------------------------------------------------------------


def _checked(params: Params) -> Params:
    datasets = {
        name: _entry("datasets", name, entry, catalogue.names("data")) for name, entry in params.datasets.items()
    }
    models = {name: _entry("models", name, entry, catalogue.trained()) for name, entry in params.models.items()}
    losses = {name: _loss(name, terms) for name, terms in params.losses.items()}
    models = {name: _trained(params.training, name, entry) for name, entry in models.items()}
    for name, entry in models.items():
        _refuse_a_leak(name, entry)
    params = params.model_copy(update={"datasets": datasets, "models": models, "losses": losses})
    _known(("baselines",), params.baselines, catalogue.baselines())
    for name in params.models:
        if name in params.baselines:
            raise _Wrong(("models", name), "found the name of a baseline; allowed: a name of its own")
    for study, lists in params.studies.items():
        for product, path in zip(lists.products, _product_paths(study, lists), strict=True):
            for section in ("datasets", "models", "losses"):
                _known((*path, section), getattr(product, section), getattr(params, section))
            _check_product(params, path, product)
    _check_evaluation(params)
    _check_figures(params)
    return params


def _product_paths(name: str, study: Study) -> Iterator[tuple[Any, ...]]:
    """Where each product of a study stands in the file."""
    yield ("studies", name)
    for index in range(len(study.also)):
        yield ("studies", name, "also", index)


def _check_product(params: Params, path: tuple[Any, ...], product: Product) -> None:
    """Refuse a product that cannot be made: what needs images (model, loss, flips) on a series, or the reverse."""
    for dataset in product.datasets:
        holds = params.frames(dataset)
        for model in product.models:
            wants = catalogue.frames("models", params.models[model].kind)
            _fits(path, f"model {model}", wants, dataset, holds)
            _can_be_turned(params, path, model, dataset)
            _reads_enough(params, model, dataset)
        for loss in product.losses:
            for term in params.losses[loss]:
                _fits(path, f"loss {loss} (term {term})", catalogue.frames("losses", term), dataset, holds)
    for model in product.models:
        for loss in product.losses:
            _stays_within(params, path, model, loss)


def _fits(path: tuple[Any, ...], what: str, wants: str, dataset: str, holds: str) -> None:
    if wants not in ("any", holds):
        told = f"found {what}, which needs {wants}, with dataset {dataset}, which is {holds}"
        raise _Wrong(path, f"{told}; allowed: what fits together, so put them in different studies")


def _can_be_turned(params: Params, path: tuple[Any, ...], model: str, dataset: str) -> None:
    """Flips and rotations move pixels, which a series has not; noise has a meaning everywhere."""
    asked = [key for key in ("flips", "rotations") if getattr(params.recipe(model), key)]
    if asked and params.frames(dataset) == "series":
        told = f"found {' and '.join(asked)} in the training of model {model} with dataset {dataset}, which is series"
        raise _Wrong(path, f"{told}; allowed: flips and rotations with video, noise with both")


def _reads_enough(params: Params, model: str, dataset: str) -> None:
    """A model that is built for the context of its dataset is not scored from fewer frames."""
    if "context" not in catalogue.given(params.models[model].kind):
        return
    context = params.datasets[dataset].arguments["context"]
    for mode, observed in params.protocols(dataset).items():
        if observed < context:
            told = f"found {observed}, with model {model}, which reads the {context} frames of its training"
            raise _Wrong(("evaluation", "protocols", dataset, mode), f"{told}; allowed: {context} or more")


def _stays_within(params: Params, path: tuple[Any, ...], model: str, loss: str) -> None:
    """A loss of probabilities has no value where a model without a sigmoid may go."""
    if catalogue.constant(f"models.{params.models[model].kind}", "UNIT_RANGE", True):
        return
    for term in params.losses[loss]:
        if catalogue.constant(f"losses.{term}", "UNIT_RANGE", False):
            told = f"found model {model}, whose forecasts may leave [0, 1], with loss {loss} (term {term})"
            raise _Wrong(path, f"{told}, which is defined on [0, 1]; allowed: another loss, such as mse")


def _check_evaluation(params: Params) -> None:
    """Every metric exists, and the primary one gives each test sequence of each dataset a value of its own."""
    metrics, primary = params.evaluation.metrics, params.evaluation.primary
    _known(("evaluation", "metrics"), metrics, sorted(catalogue.metrics()))
    per_sequence = [metric for metric in metrics if catalogue.is_per_sequence(metric)]
    _known(("evaluation", "primary"), [primary], per_sequence)
    _known(("evaluation", "compared"), params.evaluation.compared, per_sequence)
    _check_protocols(params)
    wants = catalogue.frames("metrics", catalogue.metrics()[primary][0])
    for dataset in dict.fromkeys(name for study in params.studies.values() for name in study.every("datasets")):
        if wants not in ("any", holds := params.frames(dataset)):
            told = f"found {primary!r}, which needs {wants}, and dataset {dataset} is {holds}"
            raise _Wrong(("evaluation", "primary"), f"{told}; allowed: a metric for every dataset, such as mse_pix01")


def _check_protocols(params: Params) -> None:
    """A protocol observes at least one frame of a test sequence and leaves at least one to forecast."""
    path = ("evaluation", "protocols")
    _known(path, params.evaluation.protocols, params.datasets)
    for dataset, modes in params.evaluation.protocols.items():
        arguments = params.datasets[dataset].arguments
        length = arguments["context"] + arguments["horizon"]
        for mode, observed in modes.items():
            if observed >= length:
                told = f"found {observed}; allowed: below {length}, the frames of a sequence of {dataset}"
                raise _Wrong((*path, dataset, mode), told)


def _check_figures(params: Params) -> None:
    _known(("figures",), params.figures, catalogue.names("figures"))
    for figure, drawn_for in params.figures.items():
        wants = catalogue.frames("figures", figure)
        if isinstance(drawn_for, tuple):
            _known(("figures", figure), drawn_for, params.datasets)
            for dataset in drawn_for:
                if wants not in ("any", holds := params.frames(dataset)):
                    told = f"found {dataset}, which is {holds}; allowed: datasets of {wants}"
                    raise _Wrong(("figures", figure), told)
        elif wants not in ("any", drawn_for):
            raise _Wrong(("figures", figure), _unknown(drawn_for, [wants]))


def _entry(section: str, name: str, entry: E, kinds: Iterable[str]) -> E:
    """Check an entry's kind and keyword arguments, and fill in the defaults of its class."""
    path = (section, name)
    _known((*path, "kind"), [entry.kind], kinds)
    package = "data" if section == "datasets" else section
    arguments = _validated(_arguments(f"{package}.{entry.kind}"), entry.arguments, path)
    return entry.model_copy(update={"arguments": as_tree(arguments)})


def _trained(base: Training, name: str, entry: ModelEntry) -> ModelEntry:
    """Check a model's changes to the training section, each under its own path."""
    whole = _validated(Training, {**as_tree(base), **entry.training}, ("models", name, "training"))
    changes = {key: getattr(whole, key) for key in entry.training}
    return entry.model_copy(update={"training": changes})


def _refuse_a_leak(name: str, entry: ModelEntry) -> None:
    """Arguments of which a model's module says that they leak (``LEAKS``) stand only in a named replication."""
    for argument, leaky in catalogue.constant(f"models.{entry.kind}", "LEAKS", {}).items():
        if (found := entry.arguments[argument]) in leaky and not entry.replication:
            choices = get_args(_arguments(f"models.{entry.kind}").model_fields[argument].annotation)
            causal = ", ".join(str(choice) for choice in choices if choice not in leaky) or "another value"
            told = f"found {_shown(found)}, which lets a forecast see the frame it must forecast"
            raise _Wrong(
                ("models", name, argument),
                f"{told}; allowed: {causal}; for a published leak, write `replication: true` beside it",
            )


def _loss(name: str, terms: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each term as a mapping with its weight and options, the defaults filled in."""
    resolved = {}
    for term, written in terms.items():
        path = ("losses", name, term)
        _known(("losses", name), [term], catalogue.names("losses"))
        options = written if isinstance(written, dict) else {"weight": written}
        resolved[term] = as_tree(_validated(_arguments(f"losses.{term}", weight=True), options, path))
    return resolved


@cache
def _arguments(module: str, weight: bool = False) -> type[Section]:
    """The keyword-only arguments of a module's class or function as a pydantic model.

    What is given to a model with its cell (its depth, the frames that it reads) is left out of what ``params.yaml``
    may say.
    """
    vocabulary = {**vars(ranges), "Literal": Literal}
    fields: dict[str, Any] = {"weight": (float, ...)} if weight else {}
    package, name = module.split(".")
    given = catalogue.given(name) if package == "models" else ()
    for name, (annotation, default) in catalogue.keyword_arguments(module).items():
        if name not in given:
            fields[name] = (eval(annotation, vocabulary), default)  # noqa: S307 (our own source, not the user's file)
    return create_model(module, __base__=Section, **fields)


# --- one line for every mistake -------------------------------------------------------------------


#: What is allowed where pydantic found an error of this type, in the words of somebody who writes YAML.
_ALLOWED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "below {lt:g}",
    "less_than_equal": "{le:g} or less",
    "literal_error": "{expected}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
}


def _refuse_what_yaml_made(node: Any, path: tuple[Any, ...]) -> None:
    """YAML knows more than JSON: ``no`` as a key is a truth value, 2022-04-01 a date, and a node may hold itself."""
    if len(path) > 20:
        raise _Wrong(path[:3], "found an anchor that holds itself; allowed: plain values")
    if not isinstance(node, (dict, list, str, int, float, type(None))):
        raise _Wrong(path, f"found a YAML {type(node).__name__} ({node}); allowed: text (in quotes), numbers, lists")
    for key in node if isinstance(node, dict) else ():
        if not isinstance(key, str):
            raise _Wrong(path, f"found the key {_shown(key)}, a YAML {type(key).__name__}; allowed: text (in quotes)")
    for key, value in node.items() if isinstance(node, dict) else enumerate(node if isinstance(node, list) else ()):
        _refuse_what_yaml_made(value, (*path, key))


def _validated(model: type[S], tree: Any, path: tuple[Any, ...]) -> S:
    """Strict validation of what JSON can say: 1 is no truth value and "1" no number, and a list will do for a tuple."""
    try:
        return model.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        # A misspelt key is also a missing one: tell what was written rather than what was not.
        first = min(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
        raise _Wrong((*path, *_written(first["loc"], tree, first["type"])), _told(model, first)) from None


def _written(location: tuple[Any, ...], tree: Any, kind: str) -> list[Any]:
    """The keys and indices of a location that stand in the file: pydantic adds steps of its own for unions and keys."""
    path: list[Any] = []
    for part in location:
        if (isinstance(tree, dict) and part in tree) or (isinstance(tree, list) and part in range(len(tree))):
            path.append(part)
            tree = tree[part]
    return [*path, location[-1]] if kind == "missing" else path


def _told(model: type[BaseModel], error: Any) -> str:
    match error["type"]:
        case "extra_forbidden":
            return _unknown(error["loc"][-1], _siblings(model, error["loc"]))
        case "missing":
            return "found nothing; allowed: a value, since there is no default"
        case "value_error":
            return str(error["ctx"]["error"])
    found, context = error["input"], error.get("ctx", {})
    return f"found {_shown(found)}; allowed: {_ALLOWED.get(error['type'], error['msg']).format(**context)}"


def _plain(part: Any) -> str:
    """A step of a key's path, as text that no terminal takes for a command."""
    text = str(part) if len(str(part)) <= 2 * LONGEST_NAME else f"{str(part)[:LONGEST_NAME]}…"
    return text if text.isprintable() else ascii(text)


def _shown(found: Any) -> str:
    """A value as it may stand in YAML, or what kind of thing it is."""
    if found in (None, [], {}):
        return "nothing"
    if isinstance(found, (list, dict)):
        return "a list" if isinstance(found, list) else "a mapping"
    return json.dumps(found, ensure_ascii=False, default=str)


def _siblings(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """The keys that stand where an unknown key was found."""
    annotation: Any = model
    for part in loc[:-1]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(part)].annotation
        else:
            arguments = getattr(annotation, "__args__", ())
            annotation = arguments[-1] if arguments else annotation
    return sorted(getattr(annotation, "model_fields", ()))


def _known(path: tuple[Any, ...], found: Iterable[str], allowed: Iterable[str]) -> None:
    allowed = tuple(allowed)
    for name in found:
        if name not in allowed:
            raise _Wrong(path, _unknown(name, allowed))


def _unknown(found: str, allowed: Iterable[str]) -> str:
    choices = list(allowed)
    close = difflib.get_close_matches(found, choices, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"found {_shown(found)}{hint}; allowed: {', '.join(choices) or 'nothing'}"


def as_tree(section: BaseModel) -> dict[str, Any]:
    """A section as plain JSON values, for keys and manifests."""
    return section.model_dump(mode="json")
