"""Whatever is wrong in params.yaml is told in one line: the key's path, what was found, what is allowed."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from framecast.errors import UserError
from framecast.study import catalogue, reading, rules
from framecast.study.params import Evaluation, Training
from tests.conftest import ROOT, one_line, run

Path_ = tuple[Any, ...]
STUDIES = {"real": ROOT / "params.yaml", "tiny": ROOT / "tests" / "params.yaml"}
SECTIONS = ("scale", "seeds", "studies", "datasets", "models", "baselines", "losses", "training", "evaluation")

#: What is wrong wherever a value of this type stands.
WRONG: dict[type, list[Any]] = {
    bool: [1, "yes", None, [True], {"nonsense": 1}],
    int: [-1, 1.5, "1", True, float("nan"), 2**70, [1], [], {"nonsense": 1}],
    float: ["1", True, None, float("nan"), float("inf"), [1.0], [], {"nonsense": 1}],
    str: [1, 1.5, True, None, ["a"], [], {"nonsense": 1}],
    list: [None, 1, "text", True, {"nonsense": 1}, [None], [[1]], [1.5], ["No Such/name"]],
    dict: [None, 1, "text", True, [1], {"nonsense": 1}],
    type(None): ["text", True, [1], {"nonsense": 1}],
}
FREE_TEXT = "title"
ANY_TEXT = "test_tickers"  #: which shares there are, only the files know
MAY_BE_NOTHING = (
    *("digit_size", "train_stride", "clip_norm", "clip_norm_each"),
    *("actions", "train_persons", "test_persons"),  # the protocol's
)


def tree_of(study: str) -> dict[str, Any]:
    tree = yaml.load(STUDIES[study].read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    assert isinstance(tree, dict)
    return json.loads(json.dumps(tree))  # what an anchor shares in the file is then changed in one place only


def places(node: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every section, entry and value, with its path."""
    yield path, node
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(value, (*path, key))


def changed(tree: Any, path: Path_, value: Any) -> Any:
    """A tree with another value at a path; what lies beside the path is shared with the tree that was given."""
    if not path:
        return value
    key, *rest = path
    copied = copy.copy(tree)
    if rest:
        copied[key] = changed(tree[key], tuple(rest), value)
    else:
        copied[key] = value
    return copied


def wrong_values(path: Path_, value: Any) -> Iterator[tuple[Path_, Any]]:
    """Wrong type, out of range, an unknown sibling, an unknown name: whatever cannot be right at this place."""
    laid_over = len(path) > 2 and path[0] == "scales"  # what is laid over a key is checked as the key itself is, above
    for bad in WRONG[type(value)][:: 4 if laid_over else 1]:
        weight = path and path[0] == "losses" and (bad == -1 or (len(path) == 3 and bad == 1))
        name = ANY_TEXT in path and bad == ["No Such/name"]
        if not weight and not name and not (bad is None and path and path[-1] in MAY_BE_NOTHING):
            yield path, bad
    if isinstance(value, str) and path[-1] != FREE_TEXT and ANY_TEXT not in path:
        yield from ((path, name) for name in ("", "No Such/name", "../up", "UPPER", "nowhere_to_be_found"))
    if isinstance(value, list):
        yield path, value + value[:1] if value else [1, 1]
    if isinstance(value, dict):
        yield (*path, "nonsense"), 1
        yield (*path, "No Such/name"), {}


def keys_with_a_default(study: str) -> Iterator[tuple[Path_, Any]]:
    """Keys that could be written and are not: each takes no mapping and no truth about something else."""
    tree = tree_of(study)
    for name, entry in tree["datasets"].items():
        for argument in catalogue.keyword_arguments(f"data.{entry['kind']}"):
            yield ("datasets", name, argument), {"nonsense": 1}
    for name, entry in tree["models"].items():
        for argument in catalogue.keyword_arguments(f"models.{entry['kind']}"):
            yield ("models", name, argument), {"nonsense": 1}
        for key in Training.model_fields:
            yield ("models", name, "training"), {key: {"nonsense": 1}}
    for section, keys in {"training": Training.model_fields, "evaluation": Evaluation.model_fields}.items():
        for key in keys:
            yield (section, key), {"nonsense": 1}
    for term in catalogue.names("losses"):
        for option in ("weight", *catalogue.keyword_arguments(f"losses.{term}")):
            yield ("losses", "other"), {term: {"weight": 1.0, option: {"nonsense": 1}}}


def all_wrong(study: str) -> Iterator[tuple[Path_, Any]]:
    """Each wrong value once for each place: a key that several entries of one kind have is one place."""
    tree, seen = tree_of(study), set[str]()
    found = (pair for path, value in places(tree) for pair in wrong_values(path, value))
    for path, bad in (*found, *keys_with_a_default(study)):
        if (place := repr((_place(tree, path), bad))) not in seen:
            seen.add(place)
            yield path, bad
    yield from (((section,), ...) for section in (*SECTIONS, "figures", "scales"))  # ... is: not there at all


def _place(tree: Any, path: Path_) -> Path_:
    """A path with the kind of a dataset or model for its name, any for other names of ours, and no numbers in lists."""
    general = tuple(0 if isinstance(part, int) else part for part in path)
    if len(path) > 2 and path[0] == "scales":
        return ("scales", "any", *_place(tree, path[2:]))
    if (len(path) > 2 and path[0] in ("studies", "losses")) or (
        len(path) > 3 and path[2] in ("training", "training_on")
    ):
        return (path[0], "any", *general[2:])
    if len(path) > 2 and path[0] in ("datasets", "models"):
        return (path[0], tree[path[0]][path[1]]["kind"], *general[2:])
    return general


def refused(tree: Any) -> str:
    with pytest.raises(UserError) as caught:
        reading.resolve(tree)
    return str(caught.value)


@pytest.mark.parametrize("study", STUDIES)
def test_a_bad_value_for_every_key_is_one_line_with_its_path(study: str) -> None:
    tree = tree_of(study)
    tried = 0
    for path, bad in all_wrong(study):
        wrong = changed(tree, path, bad)
        if bad is ...:
            del wrong[path[0]]
        elif path[0:1] == ("scales",) and path[1:2] and path[1] in tree["scales"]:  # the others are what they were
            wrong |= {"scale": path[1], "scales": {path[1]: wrong["scales"][path[1]]}}
        try:
            message = refused(wrong)
        except BaseException as error:
            raise AssertionError(f"{'.'.join(map(str, path))} = {bad!r}: {error!r}") from error
        assert message.startswith("params.yaml: "), message
        assert "\n" not in message
        assert "found " in message, message
        assert "; allowed: " in message, message
        if not isinstance(bad, dict) and bad is not ...:  # else what was taken away is missed where it is used
            place, told = ".".join(map(str, path)), message.removeprefix("params.yaml: ").split(": ")[0]
            assert told.startswith(place) or told == place.rpartition(".")[0], f"{place} = {bad!r}: {message}"
        tried += 1
    assert tried > 600, tried


def written(text: str, tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


GOOD = STUDIES["tiny"].read_text(encoding="utf-8")
LINES = {
    "empty file": ("", "top level: found nothing"),
    "a list": ("- scale: tiny\n", "top level: found a list"),
    "a tab": ("training:\n\tepochs: 1\n", "line 2: found character '\\t'"),
    "a key twice": (GOOD + "seeds: [3]\n", "line 19: found the key 'seeds' for the second time"),
    "a key twice, deeper": (GOOD.replace("epochs: 2", "epochs: 2, epochs: 3"), "found the key 'epochs'"),
    "brackets": (GOOD.replace("[1, 2]", "[1, 2", 1), "line 4: "),
    "text for a number": (GOOD.replace("1.0e-3", "'1e-3'"), 'training.learning_rate: found "1e-3"; allowed: a number'),
    "yes for a number": (GOOD.replace("1.0e-3", "yes"), "training.learning_rate: found true; allowed: a number"),
    "no for a name": (GOOD.replace("losses: {mse:", "losses: {no:"), "losses: found the key false, a YAML bool"),
    "half a letter": (
        GOOD.replace("sequence_depth: {", 'sequence_depth: {title: "\\ud83d", '),
        "line 5: found half a letter",
    ),
    "two studies in one": (GOOD + "---\n" + GOOD, "expected a single document in the stream, but found another"),
    "an anchor twice": (GOOD + "x: &x 1\ny: &x 2\n", "line 20: found duplicate anchor 'x'; allowed"),
    "a date": (GOOD.replace("[1, 2]", "2022-04-01", 1), 'seeds: found "2022-04-01"; allowed: a list'),
    "itself": (GOOD + "more: &here {more: *here}\n", "found an anchor that holds itself"),
    "an object": (GOOD + "more: !!python/object:os.system x\n", "found the type python/object:os.system"),
    "a binary": ("\x00", "not readable: unacceptable character"),
    "spaces in a name": (GOOD.replace("mse: {mse", "mean error: {mse"), 'losses.mean error: found "mean error"'),
    "a line in a name": (
        GOOD.replace("losses: {mse", 'losses: {"m\\ne"'),
        'found "m\\ne"; allowed: a name of',
    ),
    "a model for video on series": (
        GOOD.replace("[seq2seq_lstm]", "[seq2seq_convlstm]", 1),
        "studies.sequence_depth: found model seq2seq_convlstm, which needs video, with dataset generated_sins",
    ),
    "flips of series": (
        GOOD.replace("{batch_size: 16}", "{batch_size: 16, flips: true, rotations: true}"),
        "studies.sequence_depth: found flips and rotations in the training of model seq2seq_lstm with dataset "
        "generated_sins, which is series; allowed: flips and rotations with video, noise with both",
    ),
    "more steps than there are": (
        GOOD.replace("{batch_size: 16}", "{batch_size: 16, horizon: 999}"),
        "studies.sequence_depth: found horizon 999 in the training of model seq2seq_lstm with dataset generated_sins",
    ),
    "rotations of everything": (
        GOOD.replace("epochs: 2", "epochs: 2, rotations: true"),
        "studies.sequence_depth: found rotations in the training of model seq2seq_lstm with dataset generated_sins",
    ),
    "a factor that does not reduce": (
        GOOD.replace("epochs: 2", "epochs: 2, plateau_factor: 1"),
        "training.plateau_factor: found 1; allowed: below 1",
    ),
    "no patience": (GOOD.replace("epochs: 2", "epochs: 2, plateau_patience: 0"), "training.plateau_patience: found 0"),
    "a floor below ground": (
        GOOD.replace("{batch_size: 16}", "{learning_rate_floor: -1e-6}"),
        "models.seq2seq_lstm.training.learning_rate_floor: found -1e-06; allowed: 0 or more",
    ),
    "a recipe on a dataset that is not there": (
        GOOD.replace("{batch_size: 16}", "{batch_size: 16}, training_on: {generated_sin: {epochs: 1}}"),
        'models.seq2seq_lstm.training_on: found "generated_sin" (did you mean generated_sins?)',
    ),
    "no epochs on a dataset": (
        GOOD.replace("{batch_size: 16}", "{batch_size: 16}, training_on: {generated_sins: {epochs: 0}}"),
        "models.seq2seq_lstm.training_on.generated_sins.epochs: found 0; allowed: above 0",
    ),
    "sampling on a dataset by what cannot be": (
        GOOD.replace("{batch_size: 16}", "{batch_size: 16}, training_on: {generated_sins: {sampling: scheduled}}"),
        'models.seq2seq_lstm.training_on.generated_sins.sampling: found "scheduled", and seq2seq_lstm is never fed',
    ),
    "a negative threshold": (
        GOOD.replace("epochs: 2", "epochs: 2, plateau_min_delta: -1"),
        "training.plateau_min_delta: found -1; allowed: 0 or more",
    ),
    "negative noise": (
        GOOD.replace("epochs: 2", "epochs: 2, noise: -0.1"),
        "training.noise: found -0.1; allowed: 0 or",
    ),
    "a metric for video on series": (
        GOOD.replace("primary: mse_pix01", "primary: psnr_frame"),
        "evaluation.primary: found 'psnr_frame', which needs video, and dataset generated_sins is series",
    ),
    "an addition that does not fit": (
        GOOD.replace("losses: [mse]}", "losses: [mse], also: [{}, {models: [seq2seq_convlstm]}]}", 1),
        "studies.sequence_depth.also.1: found model seq2seq_convlstm, which needs video, with dataset generated_sins",
    ),
    "an addition twice": (
        GOOD.replace("losses: [mse]}", "losses: [mse], also: [{depths: [3]}, {depths: [3]}]}", 1),
        "studies.sequence_depth.also: found {depths: [3]} twice; allowed: each once",
    ),
    "more layers than anybody stacks": (
        GOOD.replace("depths: [1, 2]", "depths: [1000000000]"),
        "studies.sequence_depth.depths.0: found 1000000000; allowed: 1000 or less",
    ),
    "more than a computer counts": (
        GOOD.replace("context: 5", f"context: {2**62}"),
        f"datasets.generated_sins.context: found {2**62}; allowed: below 2.14748e+09",
    ),
    "more threads than a machine has": (
        GOOD.replace("epochs: 2", "epochs: 2, threads: 1048576"),
        "training.threads: found 1048576; allowed: 1024 or less",
    ),
    "more letters than a line holds": (
        GOOD.replace("epochs: 2", f"epochs: {'9' * 9999}"),
        f'training.epochs: found "{"9" * 199}…; allowed: a whole number',
    ),
    "an addition of a stranger": (
        GOOD.replace("losses: [mse]}", "losses: [mse], also: [{losses: [mea]}]}", 1),
        'studies.sequence_depth.also.0.losses: found "mea" (did you mean mse?); allowed: mse',
    ),
    "a compared metric without values per sequence": (
        GOOD.replace("primary: mse_pix01", "compared: [ssim_srvp]").replace("[mse_pix01,", "[ssim_srvp, mse_pix01,"),
        'evaluation.compared: found "ssim_srvp"; allowed: mse_pix01, psnr_frame',
    ),
    "a protocol that observes everything": (
        GOOD.replace("primary: mse_pix01", "protocols: {moving_mnist: {teacher-forced: 5}}"),
        "evaluation.protocols.moving_mnist.teacher-forced: found 5; allowed: below 5, the frames of a sequence",
    ),
    "a protocol that a baseline was not fitted to": (
        GOOD.replace("primary: mse_pix01", "protocols: {generated_sins: {free-running: 4}}"),
        "evaluation.protocols.generated_sins.free-running: found observed 4, context 5 with baseline least_squares; "
        "allowed: observed == context",
    ),
    "a protocol of another kind": (
        GOOD.replace("primary: mse_pix01", "protocols: {moving_mnist: {teacher_forced: 1}}"),
        'evaluation.protocols.moving_mnist.teacher_forced: found "teacher_forced"; allowed:',
    ),
    "a protocol of a stranger": (
        GOOD.replace("primary: mse_pix01", "protocols: {moving_minst: {teacher-forced: 1}}"),
        'evaluation.protocols: found "moving_minst" (did you mean moving_mnist?)',
    ),
    "a figure of a stranger": (
        GOOD.replace("filmstrip: video", "filmstrip: [moving_minst]"),
        'figures.filmstrip: found "moving_minst" (did you mean moving_mnist?)',
    ),
    "a figure for a dataset twice": (
        GOOD.replace("filmstrip: video", "filmstrip: [moving_mnist, moving_mnist]"),
        "figures.filmstrip: found moving_mnist twice; allowed: each once",
    ),
    "a figure for no dataset": (
        GOOD.replace("filmstrip: video", "filmstrip: []"),
        "figures.filmstrip: found nothing; allowed: at least 1 of them",
    ),
    "a figure for video on a series by name": (
        GOOD.replace("filmstrip: video", "filmstrip: [generated_sins]"),
        "figures.filmstrip: found generated_sins, which is series; allowed: datasets of video",
    ),
    "a primary metric without values per sequence": (
        GOOD.replace("primary: mse_pix01", "primary: psnr_of_mean").replace("[mse_pix01,", "[psnr_of_mean, mse_pix01,"),
        'evaluation.primary: found "psnr_of_mean" (did you mean psnr_frame?); allowed: mse_pix01, psnr_frame',
    ),
    "a figure for video on series": (
        GOOD.replace("filmstrip: video", "filmstrip: all"),
        "figures.filmstrip: found",
    ),
    "a baseline to train": (
        GOOD.replace("{kind: seq2seq_lstm,", "{kind: zeros,"),
        'models.seq2seq_lstm.kind: found "zeros"; allowed: ' + ", ".join(catalogue.trained()),
    ),
    "a trained baseline": (
        GOOD.replace("baselines: [copy_last,", "baselines: [seq2seq_lstm,"),
        'baselines: found "seq2seq_lstm"; allowed: context_mean, copy_last, copy_trend, least_squares, '
        "motion_extrapolation, zeros",
    ),
    "a model named as a baseline": (
        GOOD.replace("models:\n", "models:\n  zeros: {kind: seq2seq_lstm}\n", 1),
        "models.zeros: found the name of a baseline",
    ),
    "a slip of the pen": (
        GOOD.replace("epochs: 2", "epohcs: 2"),
        'training.epohcs: found "epohcs" (did you mean epochs?)',
    ),
    "a wrong scale": (
        GOOD.replace("scale: tiny", "scale: tny"),
        'scale: found "tny" (did you mean tiny?)',
    ),
    "a scale of a stranger": (
        GOOD.replace("{tiny: {}}", "{tiny: {datasets: {sins: {test: 1}}}}"),
        'scales.tiny.datasets: found "sins"; allowed: generated_sins, moving_mnist',
    ),
    "a wrong value in another scale": (
        GOOD.replace("{tiny: {}}", "{tiny: {}, big: {datasets: {generated_sins: {test: -1}}}}"),
        "scales.big.datasets.generated_sins.test: found -1; allowed: above 0",
    ),
    "a wrong value under a scale that hides it": (
        GOOD.replace("epochs: 2", "epochs: 0").replace("{tiny: {}}", "{tiny: {training: {epochs: 1}}}"),
        "training.epochs: found 0; allowed: above 0",
    ),
    "a head that leaks": (
        GOOD.replace("models:\n", "models:\n  next: {kind: next_frame, head: leaky}\n", 1),
        'models.next.head: found "leaky", which lets a forecast see the frame it must forecast; allowed: causal, '
        "last_only; for a published leak, write `replication: true` beside it",
    ),
    "a head that leaks in another scale": (
        GOOD.replace("models:\n", "models:\n  next: {kind: next_frame}\n", 1).replace(
            "{tiny: {}}", "{tiny: {}, big: {models: {next: {head: leaky}}}}"
        ),
        'scales.big.models.next.head: found "leaky"',
    ),
    "a doubtful replication": (
        GOOD.replace("hidden_size: 8,", "hidden_size: 8, replication: maybe,"),
        'models.seq2seq_lstm.replication: found "maybe"; allowed: true or false',
    ),
    "one beta": (GOOD.replace("[0.9, 0.98]", "[0.9]"), "training.betas.1: found nothing"),
    "three betas": (GOOD.replace("[0.9, 0.98]", "[0.9, 0.98, 1]"), "training.betas: found a list; allowed: at most 2"),
    "frames smaller than a metric's window": (
        GOOD.replace("[mse_pix01,", "[ssim_gauss, mse_pix01,").replace("frame_size: 16", "frame_size: 10"),
        "datasets.moving_mnist.frame_size: found 10 with metric ssim_gauss, whose window takes 11×11 pixels; allowed: "
        "11 or more, or evaluation.metrics without metric ssim_gauss",
    ),
    "frames smaller than the window of a metric over samples": (
        GOOD.replace("[mse_pix01,", "[ssim_srvp, mse_pix01,").replace("16, digit_size: 8", "6, digit_size: 4"),
        "datasets.moving_mnist.frame_size: found 6 with metric ssim_srvp, whose window takes 7×7 pixels; allowed: 7 or",
    ),
    "frames that another scale makes smaller than a window": (
        GOOD.replace("[mse_pix01,", "[ssim_f1, mse_pix01,").replace(
            "{tiny: {}}", "{tiny: {}, small: {datasets: {moving_mnist: {frame_size: 6, digit_size: 4}}}}"
        ),
        "scales.small.datasets.moving_mnist.frame_size: found 6 with metric ssim_f1",
    ),
    "a metric whose window another scale's frames are too small for": (
        GOOD.replace("frame_size: 16", "frame_size: 9").replace(
            "{tiny: {}}", "{tiny: {}, large: {evaluation: {metrics: [mse_pix01, ssim_gauss]}}}"
        ),
        "scales.large.datasets.moving_mnist.frame_size: found 9 with metric ssim_gauss",
    ),
    "frames smaller than the window of a loss": (
        GOOD.replace("frame_size: 16", "frame_size: 10")
        .replace("{mse: 1.0}", "{mse: 1.0, ssim: 0.1}", 1)
        .replace(
            "[generated_sins], models: [seq2seq_lstm], depths: [1, 2]", "[moving_mnist], models: [other], depths: [1]"
        )
        .replace("models:\n", "models:\n  other: {kind: seq2seq_convlstm}\n", 1),
        "datasets.moving_mnist.frame_size: found 10 with loss mse (term ssim), whose window takes 11×11 pixels; "
        "allowed: 11 or more, or studies.sequence_depth without loss mse (term ssim)",
    ),
    "an empty section": (GOOD.replace("{tiny: {}}", ""), "scales: found nothing; allowed: a mapping"),
    "a seed too large": (GOOD.replace("[1, 2]", f"[{10**30}]", 1), "seeds.0: found 1000000000000000000000000000000;"),
}


@pytest.mark.parametrize("case", LINES)
def test_traps_of_yaml_and_impossible_studies(case: str, tmp_path: Path) -> None:
    text, expected = LINES[case]
    assert text != GOOD
    with pytest.raises(UserError) as caught:
        reading.load(written(text, tmp_path))
    message = str(caught.value)
    assert "\n" not in message
    assert expected in message
    assert "; allowed: " in message


EACH_IN_ONE = "allowed: each in one of train_{0}, validation_{0}, test_{0}"
NOT_IN_THE_SET = [
    (
        "kth",
        {"actions": ["dancing"]},
        "actions.0: found \"dancing\"; allowed: 'boxing', 'handclapping', ",
    ),
    ("kth", {"actions": []}, "actions: found nothing; allowed: at least 1 of them"),
    ("kth", {"actions": ["walking", "boxing", "walking"]}, "actions: found walking twice; allowed: each once"),
    ("kth", {"scenarios": [1, 5]}, "scenarios.1: found 5; allowed: 4 or less"),
    ("kth", {"train_persons": [0]}, "train_persons.0: found 0; allowed: 1 or more"),
    ("kth", {"validation_persons": [26]}, "validation_persons.0: found 26; allowed: 25 or less"),
    ("kth", {"test_persons": []}, "test_persons: found nothing; allowed: at least 1 of them"),
    ("kth", {"train_persons": [1, 17]}, "train_persons: found 17, also in test_persons; " + EACH_IN_ONE),
    ("kth_coleman", {"train_persons": [1, 21]}, "train_persons: found 21, also in test_persons; " + EACH_IN_ONE),
    ("kth", {"test_persons": [16]}, "test_persons: found 16, also in validation_persons; " + EACH_IN_ONE),
    (
        "kth",
        {"leave_out": ["person01_boxing"]},
        'leave_out.0: found "person01_boxing"; allowed: text like person01_boxing_d1 or person25_walking_d4',
    ),
    ("human36m", {"cameras": [1]}, "cameras.0: found 1; allowed: 54138969, 55011271, 58860488 or 60457274"),
    ("human36m", {"test_subjects": [2]}, "test_subjects.0: found 2; allowed: 1, 5, 6, 7, 8, 9 or 11"),
    ("human36m", {"train_subjects": [1, 9]}, "train_subjects: found 9, also in test_subjects; " + EACH_IN_ONE),
    ("human36m", {"actions": ["Walking", "Walking"]}, "actions: found Walking twice; allowed: each once"),
    ("stocks_by_ticker", {"test_tickers": []}, "test_tickers: found nothing; allowed: at least 1 of them"),
]


def test_what_no_set_holds_is_refused_before_there_is_one() -> None:
    tree = tree_of("real")
    for dataset, arguments, told in NOT_IN_THE_SET:
        wrong = changed(tree, ("datasets", dataset), tree["datasets"][dataset] | arguments)
        kind = tree["datasets"][dataset]["kind"]
        expected = told.format("subjects" if kind == "human36m" else "persons")
        assert refused(wrong).startswith(f"params.yaml: datasets.{dataset}.{expected}")
    fine = {"train_persons": [1, 17], "actions": ["walking"], "leave_out": ["person01_boxing_d4"]}
    found = reading.resolve(changed(tree, ("datasets", "kth_coleman"), tree["datasets"]["kth_coleman"] | fine))
    assert fine.items() <= found.datasets["kth_coleman"].arguments.items()


PUBLISHED_FILE = {"test_file": "mnist_test_seq"}
KARTAL = {"protocol": "kartal", "train": 8000, "validation": 1000, "test": 1000}
BUNDLED = {"variant": "srivastava", "source": "bundled"}
INCEPU = {"translator": "incepu"}
DRAWN = {"source": "stand-in"}
#: A kind, arguments that fit each other, the change after which they do not, and what is then said.
CONTRADICTIONS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "moving_mnist",
        {"frame_size": 33},
        {"frame_size": 32},
        "frame_size: found digit_size 32, frame_size 32; allowed: digit_size < frame_size",
    ),
    ("moving_mnist", {"digit_size": 63}, {"digit_size": 64}, "digit_size: found digit_size 64, frame_size 64; allowed"),
    ("moving_mnist", {"frame_size": 4096}, {"frame_size": 40_000}, "frame_size: found 40000; allowed: 4096 or less"),
    ("moving_mnist", {"max_speed": 63}, {"max_speed": 64}, "max_speed: found max_speed 64, frame_size 64, variant"),
    ("moving_mnist", {**BUNDLED, "digits": 270}, {"digits": 271}, "digits: found digits 271, variant"),
    ("moving_mnist", {"variant": "srivastava", "digits": 271}, {"digits": 10_001}, "digits: found digits 10001, var"),
    (
        "moving_mnist",
        PUBLISHED_FILE,
        {"horizon": 11},
        'horizon: found context 10, horizon 11, test_file "mnist_test_seq"; allowed: context + horizon <= 20 if test_f',
    ),
    ("moving_mnist", PUBLISHED_FILE, {"source": "bundled"}, 'source: found source "bundled", test_file "mnist_test_'),
    ("moving_mnist", PUBLISHED_FILE, {"frame_size": 80}, "frame_size: found frame_size 80, test_file"),
    ("moving_mnist", PUBLISHED_FILE, {"test": 10_001}, "test: found test 10001, test_file"),
    ("moving_mnist", KARTAL, {"train": 9_000}, "train: found train 9000, validation 1000, test 1000, protocol"),
    ("moving_mnist", KARTAL, {"source": "bundled"}, 'source: found source "bundled", protocol "kartal"'),
    ("moving_mnist", KARTAL, {"frame_size": 80}, "frame_size: found frame_size 80, protocol"),
    ("moving_mnist", KARTAL, {"horizon": 11}, "horizon: found context 10, horizon 11, protocol"),
    (
        "bair",
        {"context": 2, "horizon": 28},
        {"context": 3},
        "context: found context 3, horizon 28; allowed: context + horizon <= 30",
    ),
    (
        "bair",
        {},
        {"frame_size": 32},
        'frame_size: found frame_size 32, source "official"; allowed: frame_size == 64 if',
    ),
    ("bair", {"test": 256}, {"test": 257}, "test: found test 257, source"),
    ("bair", {"train": 43_008}, {"train": 43_009}, "train: found train 43009, validation 256, source"),
    ("bair", {"validation": 43_263}, {"validation": 43_264}, "validation: found validation 43264, train nothing"),
    ("bair", {"train_files": 2, "train": 256}, {"train": 257}, "train: found train 257, validation 256, train_files 2"),
    ("bair", {"train_files": 2}, {"train_files": 1}, "train_files: found validation 256, train_files 1, source"),
    ("bair", {**DRAWN, "train_files": 9}, {"train_files": 8}, "train_files: found validation 256, train_files 8"),
    (
        "bair",
        {**DRAWN, "train_files": 9, "train": 32},
        {"train": 33},
        "train: found train 33, validation 256, train_fi",
    ),
    (
        "human36m",
        {**DRAWN, "images": 15},
        {"images": 14},
        "images: found images 14, context 4, horizon 4, subsampling 2, source",
    ),
    ("human36m", {**DRAWN, "actions": ["Walking"]}, {"actions": ["Flying"]}, 'actions: found actions ["Flying"], sou'),
    (
        "stocks",
        {"validation_fraction": 0.5, "test_fraction": 0.49},
        {"test_fraction": 0.5},
        "validation_fraction: found validation_fraction 0.5, test_fraction 0.5, split_by",
    ),
    (
        "stocks",
        {"split_by": "tickers", "validation_fraction": 0.5, "test_fraction": 1.0},
        {"validation_fraction": 1.0},
        "validation_fraction: found validation_fraction 1.0; allowed: 0 < validation_fraction < 1",
    ),
    ("stocks", {}, {"test_fraction": 0.0}, "test_fraction: found test_fraction 0.0, split_by"),
    (
        "kth",
        {},
        {"validation_persons": []},
        "validation_persons: found nothing; allowed: at least 1 of them, or studies",
    ),
    ("convlstm_s", {"patch_size": 8}, {"patch_size": 3}, "patch_size: found side 16, patch_size 3 with moving_mnist;"),
    ("predrnn", {"kernel_size": 3}, {"kernel_size": 4}, "kernel_size: found 4; allowed: an odd number"),
    ("predrnn_pp", {"patch_size": 8}, {"patch_size": 32}, "patch_size: found side 16, patch_size 32 with"),
    ("mim", {"patch_size": 16}, {"patch_size": 5}, "patch_size: found side 16, patch_size 5 with"),
    ("simvp", {"encoder_blocks": 7}, {"encoder_blocks": 8}, "encoder_blocks: found side 16, encoder_blocks 8 with"),
    ("simvp", {"encoder_blocks": 7}, {"encoder_blocks": 10}, "encoder_blocks: found side 16, encoder_blocks 10 with"),
    ("simvp", {"hidden_channels": 6}, {"hidden_channels": 5}, "hidden_channels: found 5; allowed: a multiple of 2"),
    ("simvp", {"kernels": [3]}, {"kernels": []}, "kernels: found nothing; allowed: at least 1 of them"),
    ("simvp", {"kernels": [3, 3]}, {"kernels": [3, 4]}, "kernels.1: found 4; allowed: an odd number"),
    ("simvp", {**INCEPU, "translator_channels": 12}, {"translator_channels": 15}, "translator_channels: found trans"),
    (
        "simvp",
        {**INCEPU, "hidden_channels": 8},
        {"hidden_channels": 6},
        'hidden_channels: found context 3, hidden_channels 6, translator "incepu", translator_channels 512 with mov',
    ),
    (
        "simvp",
        {"drop_path": 0.1},
        INCEPU,
        'drop_path: found drop_path 0.1, translator "incepu"; allowed: drop_path == 0',
    ),
    ("srvp", {"hidden_channels": 4}, {"hidden_channels": 6}, "hidden_channels: found 6; allowed: a multiple of 4"),
    (
        "srvp",
        {"standard_attention": False},
        {"rfa": False},
        "standard_attention: found standard_attention false, rfa false; allowed: standard_attention or rfa",
    ),
    (
        "seq2seq_convlstm",
        {"head_kernel": "3x3x3"},
        {"handover": "as_described"},
        'head_kernel: found head_kernel "3x3x3", handover "as_described"; allowed: head_kernel ==',
    ),
]


@pytest.mark.parametrize(("kind", "fits", "change", "told"), CONTRADICTIONS)
def test_what_contradicts_each_other_is_told_with_the_study(
    kind: str, fits: dict[str, Any], change: dict[str, Any], told: str
) -> None:
    section = "datasets" if kind in catalogue.names("data") else "models"
    tree = tree_of("tiny")
    entry = tree[section]["other"] = {"kind": kind, **fits}
    study = tree["studies"]["sequence_depth" if kind == "stocks" else "video_depth"]
    study[section] = ["other"]
    reading.resolve(tree)
    assert refused(changed(tree, (section, "other"), {**entry, **change})).startswith(
        f"params.yaml: {section}.other.{told}"
    )
    scales = {"tiny": {}, "large": {section: {"other": change}}}
    assert refused(tree | {"scales": scales}).startswith(f"params.yaml: scales.large.{section}.other.{told}"[:90])


def test_rules_are_about_arguments() -> None:
    for package, named, given in (
        ("data", catalogue.names("data"), ()),
        ("models", catalogue.trained(), ("context", "side")),
        ("models", catalogue.baselines(), ("context", "observed")),
    ):
        for name in named:
            arguments = {*catalogue.keyword_arguments(f"{package}.{name}"), *given}
            for rule in catalogue.constant(f"{package}.{name}", "FITS", ()):
                assert set(rules.names(rule)) <= arguments, (name, rule)
                assert rules.asked_of(rule), (name, rule)


def test_a_power_that_somebody_wrote_is_not_worked_out() -> None:
    tree = tree_of("real")
    tree["models"]["simvp"] |= {"encoder_blocks": 2_000_000_000}
    told = refused(tree)
    assert told.startswith("params.yaml: models.simvp.encoder_blocks: found side 64, encoder_blocks 2000000000")
    assert told.endswith("; allowed: side % 2 ** (encoder_blocks // 2) == 0")
    assert rules.is_kept("side % 2 ** blocks == 0", {"side": 16, "blocks": 4})


def test_a_named_replication_may_leak_and_anything_may_be_named_one() -> None:
    lines = "  next: {kind: next_frame, head: leaky, replication: true}\n"
    lines += "  last: {kind: next_frame, replication: true}\n"
    found = reading.resolve(yaml.safe_load(GOOD.replace("models:\n", f"models:\n{lines}", 1)))
    assert found.models["next"].replication
    assert found.models["next"].arguments["head"] == "leaky"
    assert not found.models["seq2seq_lstm"].replication


def test_numbers_that_yaml_calls_text_are_numbers(tmp_path: Path) -> None:
    for number in ("1e-3", "1E-3", "1.e-3", ".001"):
        found = reading.load(written(GOOD.replace("1.0e-3", number), tmp_path))
        assert found.training.learning_rate == 1e-3


def test_the_chosen_scale_is_laid_over_the_published_values() -> None:
    tree = tree_of("real")
    demo, laptop, paper = (reading.resolve(tree | {"scale": scale}) for scale in ("demo", "laptop", "paper"))
    assert paper.datasets["moving_mnist"].arguments["frame_size"] == 64
    assert demo.datasets["moving_mnist"].arguments["frame_size"] == 18
    whole, reduced = (params.recipe("seq2seq_convlstm", "moving_mnist") for params in (paper, demo))
    assert reduced.betas == whole.betas == (0.9, 0.98)
    assert laptop.seeds == paper.seeds
    assert not demo.is_drawn("component_impact", "moving_mnist_next")
    assert laptop.is_drawn("component_impact", "moving_mnist_next")


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_thirty_frames_are_asked_of_twins_that_differ_in_nothing_but_the_frames_of_their_training(scale: str) -> None:
    params = reading.resolve(tree_of("real") | {"scale": scale})
    study = params.studies["systems_long"]
    assert params.datasets["moving_mnist_long"].arguments["horizon"] == 30
    for model in ("simvp", "predrnn"):
        depths = [
            [depth for name, _, depth in study.systems if name == twin] for twin in (model, f"{model}_horizon_10")
        ]
        assert depths[0] == depths[1] != []
        whole, short = (params.recipe(name, "moving_mnist_long") for name in (model, f"{model}_horizon_10"))
        assert (whole.horizon, short.horizon) == (None, 10)
        assert short.model_copy(update={"horizon": None}) == whole
        assert params.models[model].arguments == params.models[f"{model}_horizon_10"].arguments


def test_the_benchmark_trains_by_another_recipe_on_each_dataset() -> None:
    paper = reading.resolve(tree_of("real") | {"scale": "paper"})
    datasets = ("moving_mnist", "kth", "human36m")
    recipes = {
        "simvp": [(200, 1e-3), (100, 1e-3), (50, 1e-3)],
        "convlstm_s": [(200, 5e-4), (100, 1e-3), (50, 1e-4)],
        "predrnn": [(200, 5e-4), (100, 1e-3), (50, 1e-4)],
        "predrnn_pp": [(200, 1e-4), (100, 1e-3), (50, 1e-4)],
        "mim": [(200, 5e-4), (100, 1e-4), (50, 1e-4)],
        "srvp": [(150, 1e-5)] * 3,
    }
    for model, wanted in recipes.items():
        found = [paper.recipe(model, dataset) for dataset in datasets]
        assert [(recipe.epochs, recipe.learning_rate) for recipe in found] == wanted
        one_cycle = "constant" if model == "srvp" else "one_cycle"
        assert [recipe.schedule for recipe in found[:2]] == [one_cycle] * 2
        assert found[2].schedule == ("constant" if model == "srvp" else "cosine")


def test_what_a_scale_says_of_a_models_training_holds_on_every_dataset_but_where_it_says_otherwise() -> None:
    tree = tree_of("real")
    published = {"epochs": 100, "weight_decay": 0.5}
    tree["models"]["simvp"]["training_on"] = {"kth": published, "human36m": published}
    tree["scales"]["laptop"]["models"]["simvp"] |= {"training": {"epochs": 3}, "training_on": {"kth": {"epochs": 4}}}
    laptop = reading.resolve(tree | {"scale": "laptop"})
    found = {dataset: laptop.recipe("simvp", dataset) for dataset in ("moving_mnist", "kth", "human36m")}
    assert {dataset: (recipe.epochs, recipe.weight_decay) for dataset, recipe in found.items()} == {
        "moving_mnist": (3, 0.0),
        "kth": (4, 0.5),
        "human36m": (3, 0.5),
    }


def test_a_scale_leaves_out_studies_that_there_are() -> None:
    tree = tree_of("real")
    for scale in ("laptop", "paper"):
        assert "systems_long" in reading.resolve(tree | {"scale": scale}).studies
    assert "systems_long" not in reading.resolve(tree).studies
    tree["scales"]["demo"] |= {"without": ["systems_ktm"]}
    with pytest.raises(UserError, match=r"scales\.demo\.without: found .*systems_ktm.*did you mean systems_kth"):
        reading.resolve(tree)


def test_a_scale_changes_figures_that_there_are() -> None:
    tree = tree_of("real")
    tree["scales"]["demo"] |= {"figures": {"depth_swep": "none"}}
    with pytest.raises(UserError, match=r"scales\.demo\.figures: found .*depth_swep.*did you mean depth_sweep"):
        reading.resolve(tree)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            GOOD.replace("epochs: 2", "epochs: two"),
            'params.yaml: training.epochs: found "two"; allowed: a whole',
        ),
        (GOOD.replace("seeds:", "sedes:"), 'params.yaml: sedes: found "sedes" (did you mean seeds?)'),
        ("", "params.yaml: top level: found nothing; allowed: a mapping of sections"),
        (None, "params.yaml: not found; run framecast from the root of the repository"),
    ],
)
def test_the_command_line_says_it_in_one_line(study: Path, text: str | None, expected: str) -> None:
    if text is None:
        (study / "params.yaml").unlink()
    else:
        written(text, study)
    for command in (["grid"], ["train", "generated_sins/seq2seq_lstm/depth-1/mse/seed-1"]):
        assert one_line(run("framecast", *command, cwd=study, check=False)).startswith(f"framecast: {expected}")
