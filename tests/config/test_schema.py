"""Parameter files: what is right loads, and what is wrong names the file, the key and the fix."""

import contextlib
import itertools
import subprocess
import sys

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.project import PROJECT, SMALL, write_study
from xnn.config import files, schema
from xnn.config.files import load_run, load_study
from xnn.config.names import summary
from xnn.config.schema import ParameterError, Run

STUDY = "{title: t, source: phantom}"
NUMBERS = itertools.count()


def run_of(text, **others):
    """The run that a file with this text gives, in a study of its own."""
    study = f"params-{next(NUMBERS)}"
    write_study(study, STUDY, it=text, **others)
    return load_run(study, "it")


def study_of(text):
    study = f"params-{next(NUMBERS)}"
    write_study(study, text)
    return load_study(study)


def error_of(load, text):
    with pytest.raises(ParameterError) as caught:
        load(text)
    return str(caught.value)


# ---- files that are right -----------------------------------------------------------------------


def test_every_shipped_parameter_file_loads(monkeypatch):
    monkeypatch.setenv("XNN_ROOT", str(PROJECT))
    assert {"phantom", "kermany"} <= set(files.studies())
    for study in files.studies():
        assert load_study(study).name == study
        assert files.runs(study), "a study without a run shows nothing"
        for run in files.runs(study):
            assert load_run(study, run).name == run


@pytest.mark.parametrize("text", ["", "# a comment\n", "---\n", "{}"])
def test_an_empty_file_gives_the_defaults(text):
    assert run_of(text).model_dump() == Run().model_dump()


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "1.0e-3", "+1e-3", "0.001", "1_0e-4"])
def test_a_number_may_be_written_with_an_exponent(number):
    assert run_of(f"training: {{learning_rate: {number}}}").training.learning_rate == 1e-3


def test_text_that_looks_like_a_number_stays_text_where_it_is_quoted():
    assert run_of("note: '1e-3'").note == "1e-3"


@pytest.mark.parametrize(
    ("train", "regime"), [("head", "feature extraction"), ("all", "full"), ("15", "fine-tuning")]
)
def test_what_is_trained_has_a_name(train, regime):
    assert run_of(f"model: {{train: {train}}}").model.regime == regime


def test_a_run_knows_its_study_and_its_folders(root):
    write_study("folders", STUDY, first="")
    run = load_run("folders", "first")
    assert run.study == load_study("folders")
    assert run.file == root / "params/folders/first.yaml"
    assert run.artifacts == root / "artifacts/folders/first"
    assert run.reports == root / "reports/folders/first"


def test_pages_say_whether_the_data_is_real():
    archive = "{title: t, source: archive, archive: {attribution: from somewhere}}"
    assert "Synthetic" in summary(study_of(STUDY))
    assert "Synthetic" in summary(run_of(""))
    assert "Real radiographs.** from somewhere" in summary(study_of(archive))
    assert "Synthetic" not in summary(study_of(archive))


# ---- keys and values that are wrong -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "meant", "allowed"),
    [
        ("training: {epoch: 3}", "training.epoch", "epochs", "average, batch_size, class_weights"),
        ("modle: {}", "modle", "model", "augmentation, evaluation, explanation, hardware, model, note"),
        ("model: {drop_out: 0.1}", "model.drop_out", "dropout", "backbone, config, dropout"),
    ],
)
def test_an_unknown_key_names_file_key_nearest_and_allowed_keys(text, key, meant, allowed):
    message = error_of(run_of, text)
    assert message.startswith("params/params-")
    assert f"/it.yaml: {key}: unknown key (did you mean {meant!r}?)" in message
    assert f"choose from {allowed}" in message


def test_an_unknown_key_of_a_study_names_it_too():
    message = error_of(study_of, "{title: t, source: phantom, image_sise: 64, archive: {urll: x}}")
    assert "image_sise: unknown key (did you mean 'image_size'?)" in message
    assert "archive.urll: unknown key (did you mean 'url'?)" in message
    assert len(message.splitlines()) == 2, "all that is wrong at once, one line each"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('training: {epochs: "3"}', "training.epochs"),
        ("training: {epochs: true}", "training.epochs"),
        ("training: {epochs: 3.0}", "training.epochs"),
        ("training: {learning_rate: true}", "training.learning_rate"),
        ("training: {class_weights: 1}", "training.class_weights"),
        ("evaluation: {flip: 'yes'}", "evaluation.flip"),
        ("note: 3", "note"),
        ("note: 2020-01-01", "note"),
        ("model: text", "model"),
        ("model: {hidden: 8}", "model.hidden"),
        ("1: 2", "1"),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error(text, key):
    assert f"/it.yaml: {key}: " in error_of(run_of, text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("model: {dropout: 1}", "model.dropout"),
        ("model: {backbone: vgg}", "model.backbone"),
        ("model: {train: 0}", "model.train"),
        ("model: {train: tail}", "model.train"),
        ("model: {hidden: [0]}", "model.hidden.0"),
        ("augmentation: {crop: 0}", "augmentation.crop"),
        ("augmentation: {flip: 1.1}", "augmentation.flip"),
        ("augmentation: {aspect: 0.9}", "augmentation.aspect"),
        ("augmentation: {low_pass: 2}", "augmentation.low_pass"),
        ("augmentation: {noise: -1}", "augmentation.noise"),
        ("augmentation: {gamma: 1}", "augmentation.gamma"),
        ("augmentation: {recompress: -0.1}", "augmentation.recompress"),
        ("training: {epochs: 0}", "training.epochs"),
        ("training: {learning_rate: 0}", "training.learning_rate"),
        ("training: {learning_rate: .inf}", "training.learning_rate"),
        ("training: {learning_rate: .nan}", "training.learning_rate"),
        ("training: {weight_decay: 1e999}", "training.weight_decay"),
        ("training: {schedule: cosinus}", "training.schedule"),
        ("explanation: {tolerance: 0}", "explanation.tolerance"),
        ("seed: -1", "seed"),
        ("seed: 4294967296", "seed"),
    ],
)
def test_an_impossible_value_of_a_run_is_an_error(text, key):
    assert f"/it.yaml: {key}" in error_of(run_of, text)


def test_a_wrong_choice_lists_the_right_ones():
    message = error_of(run_of, "model: {backbone: resnet81}")
    assert len(message.splitlines()) == 1
    assert "/it.yaml: model.backbone: " in message
    assert "did you mean 'resnet18'?" in message
    names = ("mobilenet_v2", "resnet18", "resnet50", "convnextv2", "'resnet81'")
    assert all(name in message for name in names)


def test_a_backbone_is_known_once_it_is_registered_and_none_needs_torch(root):
    write_study("registered", STUDY, own="model: {backbone: own}")
    with pytest.raises(ParameterError, match=r"own\.yaml: model\.backbone: no backbone .*, not 'own'"):
        load_run("registered", "own")
    code = (
        "import sys, xnn; xnn.BACKBONES['own'] = print; "
        "sys.exit(xnn.load_run('registered', 'own').model.backbone != 'own' or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    (root / "params/registered/own.yaml").unlink()


def test_expected_gradients_need_a_healthy_class():
    expected = "explanation: {baseline: expected}"
    archive = "{title: t, source: archive, classes: [healthy, ill]"
    write_study("health", f"{archive}}}", it=expected)
    with pytest.raises(
        ParameterError, match=r"it\.yaml: explanation\.baseline: .*'normal': name the healthy"
    ):
        load_run("health", "it")
    write_study("health", f"{archive}, healthy: healthy}}", it=expected)
    assert load_run("health", "it").study.healthy == "healthy"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fractions: [0.8, 0.1, 0.2]", "sum to 1"),
        ("fractions: [1, 0, 0]", "above 0"),
        ("fractions: [0.5, 0.5]", "fractions"),
        ("fractions: [1.5, -0.25, -0.25]", "fractions"),
        ("classes: [normal, sick]", "bacteria, normal, virus only"),
        ("classes: [normal, normal]", "different names"),
        ("classes: []", "two or more"),
        ("split: official", "no official split"),
        ("split: patients", "split"),
        ("image_size: 16", "image_size"),
        ("patients: 0", "patients"),
        ("archive: {sha256: abc}", "archive.sha256"),
        ("archive: {patient: ['(']}", "archive.patient"),
        ("archive: {patient: ['person']}", "archive.patient"),
    ],
)
def test_an_impossible_value_of_a_study_is_an_error(text, said):
    message = error_of(study_of, f"title: t\nsource: phantom\n{text}")
    assert "/study.yaml: " in message
    assert said in message


def test_a_study_must_say_its_title_and_source():
    message = error_of(study_of, "")
    assert "title: Field required" in message
    assert "source: Field required" in message


# ---- files that are no parameters ---------------------------------------------------------------


def test_a_key_given_twice_is_an_error():
    assert "line 2: not valid YAML: the key 'seed' is given twice" in error_of(run_of, "seed: 1\nseed: 2")
    assert "given twice" in error_of(run_of, "training: {epochs: 1, epochs: 2}")


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "{",
        "\tseed: 1",
        "a: b: c",
        "--- 1\n--- 2",
        "note: 2020-13-45",  # a date that is none
        "seed: 0b_",
        "seed: !!int x",
        "!!map [a, b]",
        "[a]: 1",
        "[" * 1200,
        "seed: " + "9" * 5000,
        "note: \0",
    ],
)
def test_what_is_not_yaml_is_an_error(text):
    message = error_of(run_of, text)
    assert message.startswith("params/params-")
    assert "/it.yaml:" in message
    assert "not valid YAML" in message


@pytest.mark.parametrize(("text", "found"), [("[1, 2]", "list"), ("3", "int"), ("text", "str")])
def test_a_file_that_holds_no_keys_is_an_error(text, found):
    assert f"expected keys and values, found {found}" in error_of(run_of, text)


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0\x00\x10JFIF", b"seed: 1 # caf\xe9", bytes(64)])
def test_a_binary_file_is_an_error(content, root):
    write_study("binary", STUDY, it="")
    (root / "params/binary/it.yaml").write_bytes(content)
    with pytest.raises(ParameterError, match=r"params/binary/it\.yaml: not valid YAML: not a text file"):
        load_run("binary", "it")


def test_python_tags_are_refused_and_nothing_is_executed(tmp_path):
    mark = tmp_path / "mark"
    for tag in (
        f"!!python/object/apply:os.system ['touch {mark}']",
        f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{mark}']]",
        "!!python/object:xnn.params.Run {}",
        "!!python/name:os.system",
    ):
        assert "could not determine a constructor" in error_of(run_of, f"note: {tag}")
    assert not mark.exists()


def test_a_bomb_of_aliases_is_a_short_error():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert len(error_of(run_of, "\n".join([*lines, "note: *a11"]))) < 5000


@pytest.mark.parametrize("text", ["note: &a [*a]", "model: &a {config: *a}", "&a {note: *a}"])
def test_a_value_that_holds_itself_is_an_error(text):
    assert "/it.yaml: " in error_of(run_of, text)


FRAGMENTS = """
model: training: seed: note: epochs: dropout: {} {a: [ ] } , - ? & * ! !! !!int !!set << 1e-3 0x 0b_ 1:2:3
2020-13-45 .inf .nan true null ~ ' " # --- ... %YAML | > @ \\
"""
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from([*FRAGMENTS.split(), "\n", "\t"])).map(" ".join))


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(text=TEXTS)
@example(text="\x85")
@example(text="seed: !!bool x")
def test_any_text_is_a_run_or_a_parameter_error(text):
    write_study("any", STUDY)
    (schema.root() / "params/any/it.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(ParameterError):
        assert isinstance(load_run("any", "it"), Run)


# ---- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../names", "names/../names", "/etc", "", ".", "..", "a b", "nome", "\n"])
def test_only_plain_names_that_exist_are_studies_and_runs(name):
    write_study("names", STUDY, first="", second="")
    with pytest.raises(ParameterError, match="no study"):
        load_study(name)
    with pytest.raises(ParameterError, match=r"no run .*choose from first, second"):
        load_run("names", name)


def test_an_unknown_name_comes_with_the_nearest():
    write_study("names", STUDY, first="", second="")
    with pytest.raises(ParameterError, match=r"no study 'name' .*did you mean 'names'"):
        load_study("name")
    with pytest.raises(ParameterError, match=r"no run 'frist' .*did you mean 'first'"):
        load_run("names", "frist")


def test_the_study_file_is_no_run():
    write_study("names", STUDY, first="", second="")
    assert files.runs("names") == ["first", "second"]
    with pytest.raises(ParameterError, match="no run 'study'"):
        load_run("names", "study")


def test_a_run_starts_from_another_run():
    assert run_of("model: {start_from: other}", other="").model.start_from == "other"


@pytest.mark.parametrize("start", ["it", "nowhere", "study", "../x", "''"])
def test_a_start_from_itself_or_nowhere_is_an_error(start):
    with pytest.raises(ParameterError, match=r"it\.yaml: model\.start_from: .*choose from other"):
        run_of(f"model: {{start_from: {start}}}", other="")


def test_runs_that_start_from_each_other_are_an_error():
    with pytest.raises(ParameterError, match=r"model\.start_from"):
        run_of("model: {start_from: a}", a="model: {start_from: b}", b="model: {start_from: it}")


# ---- hashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "same",
    [
        "# a comment\ntraining: {epochs: 7} # another\nseed: 3",
        "seed: 3\ntraining: {epochs: 7}",
        "seed: 3\ntraining:\n  batch_size: 32\n  epochs: 7\nmodel: {backbone: mobilenet_v2}",
    ],
)
def test_comments_order_and_written_defaults_keep_the_hash(same):
    assert schema.sha256(run_of(same)) == schema.sha256(run_of("training: {epochs: 7}\nseed: 3"))


@pytest.mark.parametrize("other", ["seed: 4", "seed: 3\nmodel: {dropout: 0.3}", "seed: 3\nnote: x", ""])
def test_another_value_gives_another_hash(other):
    assert schema.sha256(run_of(other)) != schema.sha256(run_of("seed: 3"))


def test_a_hash_covers_all_that_it_is_given():
    study, run = study_of(STUDY), run_of("")
    assert len({schema.sha256(study), schema.sha256(run), schema.sha256(study, run)}) == 3
    assert len(schema.sha256(study, run)) == 64


def test_a_run_starts_from_one_of_its_own_backbone():
    write_study("mixed", first="model: {backbone: resnet18}", second="model: {start_from: first}")
    with pytest.raises(ParameterError, match=r"second\.yaml: model\.backbone: mobilenet_v2.*is a resnet18"):
        load_run("mixed", "second")


def test_lora_needs_layers_of_the_backbone():
    write_study("low", rank="model: {train: head, lora: {rank: 4}}")
    with pytest.raises(ParameterError, match=r"rank\.yaml: model: lora.*set train to all or a number"):
        load_run("low", "rank")


def test_a_study_is_compared_with_others_that_exist():
    write_study("one", "{title: one, source: archive}")
    write_study("two", "{title: two, source: archive, compare_with: [one]}")
    assert files.load_study("two").compare_with == ["one"]
    for wrong in ("two", "onne"):
        write_study("two", f"{{title: two, source: archive, compare_with: [{wrong}]}}")
        with pytest.raises(schema.ParameterError, match=f"compare_with: no other study '{wrong}'.*one"):
            files.load_study("two")
    write_study("two", "{title: two, source: archive}")


def test_a_published_number_names_its_task():
    text = "{{title: three, source: archive, published: [{{source: x, link: y, task: {}, accuracy: 0.9}}]}}"
    write_study("three", text.format("pneumonia"))
    assert files.load_study("three").published[0].accuracy == 0.9
    write_study("three", text.format("pneumonya"))
    with pytest.raises(schema.ParameterError, match=r"published\.0\.task"):
        files.load_study("three")
    write_study("three")


# ---- parameter files are papermill's ---------------------------------------------------------------


RUN = "{study: own, run: a, training: {epochs: 3}, seed: 1}"


def test_every_run_s_file_names_its_study_and_run():
    files = [file for file in (PROJECT / "params").glob("*/*.yaml") if file.parent.name != "sweeps"]
    files = [file for file in files if file.stem != "study"]
    assert len(files) > 30
    for file in files:
        values = yaml.safe_load(file.read_text())
        assert (values["study"], values["run"]) == (file.parent.name, file.stem)


def test_a_file_that_names_another_run_is_refused():
    write_study("own", SMALL, a=RUN, b=RUN)
    assert load_run("own", "a").seed == 1
    with pytest.raises(ParameterError, match=r"params/own/b.yaml: run: 'a', but its path says 'b'"):
        load_run("own", "b")


def test_a_notebook_takes_a_file_whole_or_makes_a_run_of_its_own():
    write_study("own", SMALL, a=RUN)
    whole = {"training": {"epochs": 3}, "seed": 1, "model": {}, "note": "", "online": None}
    assert load_run("own", "a", **whole) == load_run("own", "a")
    fast = load_run("own", "fast", training={"learning_rate": "3e-3"})
    assert fast.training.learning_rate == 0.003
    assert fast.reports.name == "fast"
    with pytest.raises(
        ParameterError, match=r"own/a.yaml: training.epochs: 3, but .* given 4: give the run a"
    ):
        load_run("own", "a", training={"epochs": 4}, seed=1)
    with pytest.raises(ParameterError, match="no run 'fast'"):
        load_run("own", "fast")
    with pytest.raises(ParameterError, match=r"no run .\.\./a"):
        load_run("own", "../a", seed=2)


@pytest.mark.parametrize(("train", "refused"), [("all", True), ("head", False), ("15", False)])
def test_a_batch_of_one_has_no_statistics_to_train_all_layers_with(train, refused):
    write_study("single", run=f"model: {{train: {train}}}\ntraining: {{batch_size: 1}}")
    if not refused:
        assert files.load_run("single", "run").training.batch_size == 1
        return
    with pytest.raises(schema.ParameterError, match=r"batch_size: one image has no batch statistics.*use 2"):
        files.load_run("single", "run")
