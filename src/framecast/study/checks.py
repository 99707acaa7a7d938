"""What fits together in ``params.yaml``: names that exist, arguments that modules take, products that can be made.

The parameters of a dataset, model or loss term are the keyword-only arguments of its class or function, so their names,
types, bounds and defaults are written once, in its own file (``catalogue``).
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import combinations
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args

from pydantic import StringConstraints, create_model

from framecast import ranges
from framecast.study import catalogue, rules
from framecast.study.mistakes import Section, Wrong, as_tree, known, shown, unknown, validated
from framecast.study.params import Entry, ModelEntry, Params, Product, Study, Training

AFFECTS_NUMBERS = False  # what was resolved is in the keys
E = TypeVar("E", bound=Entry)


def checked(params: Params) -> Params:
    """The study with every name resolved and every argument filled in; raises Wrong where something does not fit."""
    datasets = {name: _dataset(name, entry) for name, entry in params.datasets.items()}
    models = {name: _model(name, entry) for name, entry in params.models.items()}
    losses = {name: _loss(name, terms) for name, terms in params.losses.items()}
    models = {name: _trained(params.training, name, entry, datasets) for name, entry in models.items()}
    for name, entry in models.items():
        _refuse_a_leak(name, entry)
    params = params.model_copy(update={"datasets": datasets, "models": models, "losses": losses})
    known(("baselines",), params.baselines, catalogue.baselines())
    for name in params.models:
        if name in params.baselines:
            raise Wrong(("models", name), "found the name of a baseline; allowed: a name of its own")
    for study, lists in params.studies.items():
        for product, path in zip(lists.products, _product_paths(study, lists), strict=True):
            for section in ("datasets", "models", "losses"):
                known((*path, section), getattr(product, section), getattr(params, section))
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
        _has_every_split(params, path, dataset)
        for model in product.models:
            wants = catalogue.frames("models", params.models[model].kind)
            _fits(path, f"model {model}", wants, dataset, holds)
            _can_be_turned(params, path, model, dataset)
            _reads_enough(params, model, dataset)
            _is_built_for(params, model, dataset)
            _trains_within(params, path, model, dataset)
        for loss in product.losses:
            for term in params.losses[loss]:
                _fits(path, f"loss {loss} (term {term})", catalogue.frames("losses", term), dataset, holds)
                window = catalogue.constant(f"losses.{term}", "SMALLEST_FRAME", 1)
                _holds_a_window(params, dataset, window, f"loss {loss} (term {term})", path)
    for model in product.models:
        for loss in product.losses:
            _stays_within(params, path, model, loss)


def _fits(path: tuple[Any, ...], what: str, wants: str, dataset: str, holds: str) -> None:
    if wants not in ("any", holds):
        told = f"found {what}, which needs {wants}, with dataset {dataset}, which is {holds}"
        raise Wrong(path, f"{told}; allowed: what fits together, so put them in different studies")


def _has_every_split(params: Params, path: tuple[Any, ...], dataset: str) -> None:
    """What a study trains on has somebody in every split (``DISJOINT``), though it may be prepared without."""
    entry = params.datasets[dataset]
    stated = catalogue.stated(entry.kind, entry.arguments)
    for argument in catalogue.constant(f"data.{entry.kind}", "DISJOINT", ()):
        if not stated[argument]:
            told = f"found nothing; allowed: at least 1 of them, or {'.'.join(map(str, path))} without {dataset}"
            raise Wrong(("datasets", dataset, argument), told)


def _holds_a_window(params: Params, dataset: str, window: int, what: str, path: tuple[Any, ...]) -> None:
    """Refuse frames with less than ``window`` pixels a side; ``path`` is where ``what`` was asked for."""
    if params.frames(dataset) == "series":
        return
    entry = params.datasets[dataset]
    side, argument = catalogue.side(entry.kind, entry.arguments)
    if side >= window:
        return
    needs = f"{what}, whose window takes {window}×{window} pixels"
    if not argument:
        raise Wrong(path, f"found {needs}, and {dataset} has {side}×{side}; allowed: what fits together")
    without = f"{'.'.join(map(str, path))} without {what}"
    raise Wrong(("datasets", dataset, argument), f"found {side} with {needs}; allowed: {window} or more, or {without}")


def _can_be_turned(params: Params, path: tuple[Any, ...], model: str, dataset: str) -> None:
    """Flips and rotations move pixels, which a series has not; noise has a meaning everywhere."""
    asked = [key for key in ("flips", "rotations") if getattr(params.recipe(model, dataset), key)]
    if asked and params.frames(dataset) == "series":
        told = f"found {' and '.join(asked)} in the training of model {model} with dataset {dataset}, which is series"
        raise Wrong(path, f"{told}; allowed: flips and rotations with video, noise with both")


def _reads_enough(params: Params, model: str, dataset: str) -> None:
    """A model that is built for the context of its dataset is not scored from fewer frames."""
    if "context" not in catalogue.given(params.models[model].kind):
        return
    context = params.datasets[dataset].arguments["context"]
    for mode, observed in params.protocols(dataset).items():
        if observed < context:
            told = f"found {observed}, with model {model}, which reads the {context} frames of its training"
            raise Wrong(("evaluation", "protocols", dataset, mode), f"{told}; allowed: {context} or more")


def _is_built_for(params: Params, model: str, dataset: str) -> None:
    """A model fits the ``context`` of its dataset, and the ``side`` of its frames (None of a series)."""
    entry, data = params.models[model], params.datasets[dataset]
    side = None if params.frames(dataset) == "series" else catalogue.side(data.kind, data.arguments)[0]
    given = {"context": data.arguments["context"], "side": side}
    _keeps_rules(("models", model), f"models.{entry.kind}", entry.arguments, given=given, told=f" with {dataset}")


def _trains_within(params: Params, path: tuple[Any, ...], model: str, dataset: str) -> None:
    """Nothing is trained to forecast more frames than the sequences have."""
    asked, there = params.recipe(model, dataset).horizon, params.datasets[dataset].arguments["horizon"]
    if asked is not None and asked > there:
        told = f"found horizon {asked} in the training of model {model} with dataset {dataset}, which has {there}"
        raise Wrong(path, f"{told}; allowed: up to {there}")


def _stays_within(params: Params, path: tuple[Any, ...], model: str, loss: str) -> None:
    """A loss of probabilities has no value where a model without a sigmoid may go."""
    if _in_unit_range(params.models[model]):
        return
    for term in params.losses[loss]:
        if catalogue.constant(f"losses.{term}", "UNIT_RANGE", False):
            told = f"found model {model}, whose forecasts may leave [0, 1], with loss {loss} (term {term})"
            raise Wrong(path, f"{told}, which is defined on [0, 1]; allowed: another loss, such as mse")


def _in_unit_range(entry: ModelEntry) -> bool:
    """What the module says, for all its arguments alike or for some values of one (``UNIT_RANGE``)."""
    said = catalogue.constant(f"models.{entry.kind}", "UNIT_RANGE", True)
    return all(entry.arguments[name] in within for name, within in said.items()) if isinstance(said, dict) else said


def _check_evaluation(params: Params) -> None:
    """Every metric exists, and the primary one gives each test sequence of each dataset a value of its own."""
    metrics, primary = params.evaluation.metrics, params.evaluation.primary
    known(("evaluation", "metrics"), metrics, sorted(catalogue.metrics()))
    per_sequence = [metric for metric in metrics if catalogue.is_per_sequence(metric)]
    known(("evaluation", "primary"), [primary], per_sequence)
    known(("evaluation", "compared"), params.evaluation.compared, per_sequence)
    _check_protocols(params)
    wants = catalogue.frames("metrics", catalogue.metrics()[primary][0])
    for dataset in dict.fromkeys(name for study in params.studies.values() for name in study.every("datasets")):
        for metric in metrics:
            _holds_a_window(
                params, dataset, catalogue.smallest_frame(metric), f"metric {metric}", ("evaluation", "metrics")
            )
        if wants not in ("any", holds := params.frames(dataset)):
            told = f"found {primary!r}, which needs {wants}, and dataset {dataset} is {holds}"
            raise Wrong(("evaluation", "primary"), f"{told}; allowed: a metric for every dataset, such as mse_pix01")


def _check_protocols(params: Params) -> None:
    """A protocol observes at least one frame of a test sequence and leaves at least one to forecast."""
    path = ("evaluation", "protocols")
    known(path, params.evaluation.protocols, params.datasets)
    for dataset, modes in params.evaluation.protocols.items():
        arguments = params.datasets[dataset].arguments
        length = arguments["context"] + arguments["horizon"]
        for mode, observed in modes.items():
            if observed >= length:
                told = f"found {observed}; allowed: below {length}, the frames of a sequence of {dataset}"
                raise Wrong((*path, dataset, mode), told)
            given = {"context": arguments["context"], "observed": observed}
            for baseline in params.baselines:
                if catalogue.frames("models", baseline) in ("any", params.frames(dataset)):
                    place, told = (*path, dataset, mode), f" with baseline {baseline}"
                    _keeps_rules(place, f"models.{baseline}", {}, given=given, told=told)


def _check_figures(params: Params) -> None:
    known(("figures",), params.figures, catalogue.names("figures"))
    for figure, drawn_for in params.figures.items():
        wants = catalogue.frames("figures", figure)
        if isinstance(drawn_for, tuple):
            known(("figures", figure), drawn_for, params.datasets)
            for dataset in drawn_for:
                if wants not in ("any", holds := params.frames(dataset)):
                    told = f"found {dataset}, which is {holds}; allowed: datasets of {wants}"
                    raise Wrong(("figures", figure), told)
        elif wants not in ("any", drawn_for) and drawn_for != "none":
            raise Wrong(("figures", figure), unknown(drawn_for, [wants, "none"]))


def _dataset(name: str, entry: Entry) -> Entry:
    """Check a dataset's kind and arguments; nobody and nothing is in two splits (``DISJOINT`` names the lists)."""
    checked = _entry("datasets", name, entry, catalogue.names("data"))
    lists = catalogue.constant(f"data.{entry.kind}", "DISJOINT", ())
    stated = catalogue.stated(entry.kind, checked.arguments)
    for first, second in combinations(lists, 2):
        if shared := sorted(set(stated[first]) & set(stated[second])):
            here, there = (first, second) if first in entry.arguments else (second, first)
            told = f"found {', '.join(map(str, shared))}, also in {there}"
            raise Wrong(("datasets", name, here), f"{told}; allowed: each in one of {', '.join(lists)}")
    _keeps_rules(("datasets", name), f"data.{entry.kind}", stated, written=entry.arguments)
    return checked


def _model(name: str, entry: ModelEntry) -> ModelEntry:
    """Check a model's kind and arguments."""
    checked = _entry("models", name, entry, catalogue.trained())
    _keeps_rules(("models", name), f"models.{entry.kind}", checked.arguments, written=entry.arguments)
    return checked


def _keeps_rules(
    path: tuple[Any, ...],
    module: str,
    arguments: Mapping[str, Any],
    *,
    written: Iterable[str] = (),
    given: Mapping[str, Any] = MappingProxyType({}),
    told: str = "",
) -> None:
    """Refuse arguments that do not fit each other or, where something is ``given``, that do not fit this.

    ``FITS`` of the module says what does. Named is the first argument that somebody has ``written``, if any.
    """
    values = {**arguments, **given}
    for rule in catalogue.constant(module, "FITS", ()):
        of_arguments_alone = arguments.keys() >= set(rules.names(rule))
        if of_arguments_alone != bool(given) and not rules.is_kept(rule, values):
            named = [name for name in rules.asked_of(rule) if name in arguments]
            first = sorted(named, key=lambda name: name not in written)[:1]
            raise Wrong((*path, *first), f"found {rules.found(rule, values)}{told}; allowed: {rule}")


def _entry(section: str, name: str, entry: E, kinds: Iterable[str]) -> E:
    """Check an entry's kind and keyword arguments, and fill in the defaults of its class."""
    path = (section, name)
    known((*path, "kind"), [entry.kind], kinds)
    package = "data" if section == "datasets" else section
    arguments = validated(_arguments(f"{package}.{entry.kind}"), entry.arguments, path)
    return entry.model_copy(update={"arguments": as_tree(arguments)})


def _trained(base: Training, name: str, entry: ModelEntry, datasets: Iterable[str]) -> ModelEntry:
    """Check a model's changes to the training section, and those for single datasets, each under its own path."""
    path = ("models", name)
    own = _changed(base, entry, entry.training, (*path, "training"))
    known((*path, "training_on"), entry.training_on, datasets)
    there = base.model_copy(update=own)
    changes = {
        dataset: _changed(there, entry, more, (*path, "training_on", dataset))
        for dataset, more in entry.training_on.items()
    }
    return entry.model_copy(update={"training": own, "training_on": changes})


def _changed(base: Training, entry: ModelEntry, changes: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    whole = validated(Training, {**as_tree(base), **changes}, path)
    _can_be_sampled(entry, whole, path)
    return {key: getattr(whole, key) for key in changes}


def _can_be_sampled(entry: ModelEntry, recipe: Training, path: tuple[Any, ...]) -> None:
    """Only a system that can read its own forecasts in training samples, at times that follow each other."""
    if recipe.sampling == "none":
        return
    if not catalogue.constant(f"models.{entry.kind}", "SAMPLED", False):
        told = f"found {shown(recipe.sampling)}, and {entry.kind} is never fed its own forecasts in training"
        raise Wrong((*path, "sampling"), f"{told}; allowed: none")
    if recipe.sampling_unit == "run" and recipe.sampling_end > 1:
        raise Wrong(
            (*path, "sampling_end"),
            f"found {recipe.sampling_end:g}, as a share of the run; allowed: above 0 and up to 1, or "
            "`sampling_unit: iterations`",
        )
    if recipe.sampling == "reverse" and recipe.sampling_start >= recipe.sampling_end:
        told = f"found {recipe.sampling_start:g}; allowed: below sampling_end, {recipe.sampling_end:g}"
        raise Wrong((*path, "sampling_start"), told)


def _refuse_a_leak(name: str, entry: ModelEntry) -> None:
    """Arguments of which a model's module says that they leak (``LEAKS``) stand only in a named replication."""
    for argument, leaky in catalogue.constant(f"models.{entry.kind}", "LEAKS", {}).items():
        if (found := entry.arguments[argument]) in leaky and not entry.replication:
            choices = get_args(_arguments(f"models.{entry.kind}").model_fields[argument].annotation)
            causal = ", ".join(str(choice) for choice in choices if choice not in leaky) or "another value"
            told = f"found {shown(found)}, which lets a forecast see the frame it must forecast"
            raise Wrong(
                ("models", name, argument),
                f"{told}; allowed: {causal}; for a published leak, write `replication: true` beside it",
            )


def _loss(name: str, terms: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each term as a mapping with its weight and options, the defaults filled in."""
    resolved = {}
    for term, written in terms.items():
        path = ("losses", name, term)
        known(("losses", name), [term], catalogue.names("losses"))
        options = written if isinstance(written, dict) else {"weight": written}
        resolved[term] = as_tree(validated(_arguments(f"losses.{term}", weight=True), options, path))
    return resolved


@cache
def _arguments(module: str, weight: bool = False) -> type[Section]:
    """The keyword-only arguments of a module's class or function as a pydantic model.

    What is given to a model with its cell (its depth, the frames that it reads) is left out of what ``params.yaml``
    may say.
    """
    fields: dict[str, Any] = {"weight": (float, ...)} if weight else {}
    package, name = module.split(".")
    given = catalogue.given(name) if package == "models" else ()
    for name, (annotation, default) in catalogue.keyword_arguments(module).items():
        if name not in given:
            fields[name] = (_type(annotation, catalogue.named(module)), default)
    return create_model(module, __base__=Section, **fields)


def _type(annotation: str, named: dict[str, str]) -> Any:
    """What an annotation stands for, with what it may name: the types of ``ranges`` and those of ``named``."""
    said = {node.id for node in ast.walk(ast.parse(annotation)) if isinstance(node, ast.Name)}
    meant = {name: _type(named[name], named) for name in said & named.keys()}
    vocabulary = {**vars(ranges), "Literal": Literal, "StringConstraints": StringConstraints, **meant}
    return eval(annotation, vocabulary)  # noqa: S307 (our own source, not the user's file)
