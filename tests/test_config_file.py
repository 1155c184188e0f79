"""Config files: the shipped ones resolve; mistakes are refused with their place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from train.config import CamembertConfig, MeanConfig, Paths, PositiveFloat, StrictModel, TfidfConfig, TrainConfig
from train.config_file import load_config
from train.pretraining import PretrainConfig
from train.schema import SelonError

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))

BASE = "name: essai\ndata: {train: [a], validation: [b], test: [c]}\n"
TFIDF = BASE + "model: {kind: tfidf}\n"


def load(folder: Path, text: str, *overrides: str) -> TrainConfig:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, TrainConfig, overrides)


def refusal(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(SelonError) as caught:
        load(folder, text, *overrides)
    return str(caught.value).removeprefix(str(folder) + os.sep)


def test_there_are_configs() -> None:
    assert {path.name for path in CONFIGS} >= {"petit.yaml", "tfidf.yaml", "camembert.yaml", "pretrain-petit.yaml"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_resolves_under_its_own_name(path: Path) -> None:
    if path.stem.startswith("pretrain"):
        assert load_config(path, PretrainConfig).name == path.stem.removeprefix("pretrain-")
    else:
        assert load_config(path, TrainConfig).name == path.stem


@pytest.mark.parametrize("path", [p for p in CONFIGS if not p.stem.startswith("pretrain")], ids=lambda path: path.stem)
def test_shipped_configs_name_files_that_are_there(path: Path) -> None:
    config = load_config(path, TrainConfig)
    named = [*config.data.train, *config.data.validation, *config.data.test, *config.data.unlabelled]
    assert [name for name in named if not (ROOT / name).exists()] == []
    if isinstance(config.model, CamembertConfig) and config.model.encoder.startswith("data/"):
        assert (ROOT / config.model.encoder / "config.json").is_file()


@pytest.mark.parametrize("layer", ["", "-press"])
def test_the_mean_is_that_of_the_configs_beside_it(layer: str) -> None:
    names = (ROOT / f"configs/{kind}{layer}.yaml" for kind in ("mean", "tfidf", "petit"))
    mean, *alone = (load_config(path, TrainConfig) for path in names)
    assert isinstance(mean.model, MeanConfig)
    assert mean.model.members == tuple(config.model for config in alone)
    assert mean.data == alone[-1].data


@pytest.mark.parametrize(("written", "value"), [("2e-5", 2e-5), ("2.0e-5", 2e-5), ("1", 1.0), (".5", 0.5)])
def test_floats_as_people_write_them(tmp_path: Path, written: str, value: float) -> None:
    text = BASE + f"model: {{kind: camembert, encoder: x, learning_rate: {written}}}"
    model = load(tmp_path, text).model
    assert isinstance(model, CamembertConfig)
    assert model.learning_rate == value
    assert load(tmp_path, TFIDF, f"model.C={written}").model == TfidfConfig(kind="tfidf", C=value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE + "model: {kind: tfidf, C: yes}", "model.C: Input should be a number (got True)"),
        (BASE + "model: {kind: tfidf, C: 0}", "model.C: Input should be greater than 0 (got 0)"),
        (BASE + "model: {kind: tfidf, C: .nan}", "model.C: Input should be a finite number (got nan)"),
        (BASE + "model: {kind: tfidf, min_df: 2.0}", "model.min_df: Input should be a valid integer (got 2.0)"),
        (BASE + "model: {kind: tfidf, min_df: '2'}", "model.min_df: Input should be a valid integer (got '2')"),
        (BASE + "model: {kind: tfidf, word_ngrams: 6}", "model.word_ngrams: Input should be less than or equal to 5 "),
        (BASE + "model: {kind: tfidf, c: 1}", "unknown key model.c: remove it or mend its spelling"),
        (BASE + "model: {kind: camembert}", "model.encoder is missing"),
        (BASE + "model: {kind: camembert, encoder: x, warmup: 1}", "model.warmup: Input should be less than 1 (got 1)"),
        (BASE + "model: {kind: camembert, encoder: x, weight_decay: .inf}", "model.weight_decay: Input should be a f"),
        (BASE + "model: {kind: svm}", "model: Input tag 'svm' found using 'kind' does not match any of the expected"),
        (BASE + "model: 3", "model: Input should be a valid dictionary"),
        (BASE, "model is missing"),
        (TFIDF + "sede: 3", "unknown key sede: remove it or mend its spelling"),
        (TFIDF + "seed: yes", "seed: Input should be a valid integer (got True)"),
        (TFIDF + "seed: -1", "seed: Input should be greater than or equal to 0 (got -1)"),
        (TFIDF + "input: {before: 4}", "input.before: Input should be less than or equal to 3 (got 4)"),
        (TFIDF + "input: {title: 1}", "input.title: Input should be a valid boolean (got 1)"),
        (TFIDF.replace("[a]", "a"), "data.train: a list is wanted: data.train='[a]'"),
        (TFIDF.replace("[a]", "3"), "data.train: Input should be a valid tuple (got 3)"),
        (TFIDF.replace("[a]", "[]"), "data.train: Tuple should have at least 1 item"),
        (TFIDF.replace("[a]", "[a, 3]"), "data.train.1: Input should be a valid string (got 3)"),
        (TFIDF.replace("essai", "Un essai"), "name: String should match pattern"),
    ],
)
def test_wrong_values_are_named_with_their_place(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(f"c.yaml: {message}")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = BASE + "model: {kind: tfidf, C: -1, min_df: 0}\nsede: 1"
    problems = refusal(tmp_path, text).removeprefix("c.yaml: ").split("; ")
    assert [problem.split(":")[0] for problem in problems] == ["model.min_df", "model.C", "unknown key sede"]


def test_the_tag_of_any_union_stays_out_of_places(tmp_path: Path) -> None:
    """A third classifier needs no change here: the tags are read off what the user wrote."""

    class Forest(StrictModel):
        kind: Literal["forest"]
        trees: PositiveFloat

    class Other(StrictModel):
        kind: Literal["other"]

    class Config(StrictModel):
        model: Annotated[Forest | Other, Field(discriminator="kind")]
        tfidf: Paths

    (tmp_path / "c.yaml").write_text("model: {kind: forest, trees: 0, forests: 1}\ntfidf: [1]", encoding="utf-8")
    with pytest.raises(SelonError) as caught:
        load_config(tmp_path / "c.yaml", Config)
    places = [problem.split(":")[-2] for problem in str(caught.value).split("; ")]
    assert [place.strip() for place in places] == ["model.trees", "unknown key model.forests", "tfidf.0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TFIDF + "seed: 1\nseed: 2", "c.yaml:4: key 'seed' is given twice"),
        (BASE + "model:\n  kind: tfidf\n  C: 1\n  C: 1", "c.yaml:5: key 'C' is given twice"),
        (BASE + "model: {kind: tfidf", "c.yaml:3: expected ',' or '}'"),
        ("name: a: b", "c.yaml:1: mapping values are not allowed here"),
        ("? [a]\n: 3", "c.yaml:1: found unhashable key"),
        ("!!python/object:os.system {}", "c.yaml:1: could not determine a constructor"),
        ("name: \x00", "c.yaml: no valid YAML"),
        ("- name", "c.yaml: a config is a mapping of keys to values"),
        ("", "c.yaml: a config is a mapping of keys to values"),
        ("extends: [a.yaml]", "c.yaml: extends: is the path of one config (got ['a.yaml'])"),
        ("extends: absent.yaml", "absent.yaml: there is no such config, though c.yaml extends it"),
        ("extends: c.yaml", "c.yaml: its extends: leads back to itself"),
    ],
)
def test_broken_files_are_refused_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(message)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(SelonError, match="there is no such config; see configs/"):
        load_config(tmp_path / "c.yaml", TrainConfig)
    with pytest.raises(SelonError, match="cannot be read"):
        load_config(tmp_path, TrainConfig)
    (tmp_path / "c.yaml").write_bytes(b"name: \xe9t\xe9")
    with pytest.raises(SelonError, match="cannot be read"):
        load_config(tmp_path / "c.yaml", TrainConfig)


def test_a_byte_order_mark_and_crlf_are_let_pass(tmp_path: Path) -> None:
    assert load(tmp_path, "\ufeff" + TFIDF.replace("\n", "\r\n")) == load(tmp_path, TFIDF)


def test_extends_merges_sections_and_replaces_another_kind(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "base.yaml").write_text(TFIDF + "input: {before: 0, after: 0}\nseed: 5", encoding="utf-8")
    (tmp_path / "sub/mid.yaml").write_text(
        "extends: ../base.yaml\nmodel: {C: 7, min_df: 1}\ninput: {before: 2}", encoding="utf-8"
    )
    mid = load_config(tmp_path / "sub/mid.yaml", TrainConfig)
    assert mid.model == TfidfConfig(kind="tfidf", C=7, min_df=1)
    assert (mid.seed, mid.input.before, mid.input.after) == (5, 2, 0)
    top = load(tmp_path, "extends: sub/mid.yaml\nmodel: {kind: camembert, encoder: x}\ndata: {train: [z]}")
    assert top.model == CamembertConfig(kind="camembert", encoder="x")
    assert (top.data.train, top.data.test) == (("z",), ("c",))


def test_a_circle_of_configs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("extends: c.yaml", encoding="utf-8")
    assert refusal(tmp_path, "extends: other.yaml").endswith("its extends: leads back to itself")


def test_overrides_have_the_last_word(tmp_path: Path) -> None:
    config = load(tmp_path, TFIDF + "input:", "seed=1", "seed=2", "input.title=off", "data.train=[y, z]", "name=a")
    assert (config.seed, config.input.title, config.data.train, config.name) == (2, False, ("y", "z"), "a")


def test_an_override_reaches_into_a_list(tmp_path: Path) -> None:
    mean = BASE + "model: {kind: mean, members: [{kind: tfidf, C: 2}, {kind: camembert, encoder: x, epochs: 2}]}"
    model = load(tmp_path, mean, "model.members.1.epochs=3", "model.members.0.min_df=5", "data.train.0=z").model
    assert isinstance(model, MeanConfig)
    assert model.members == (
        TfidfConfig(kind="tfidf", C=2, min_df=5),
        CamembertConfig(kind="camembert", encoder="x", epochs=3),
    )
    (tmp_path / "mean.yaml").write_text(mean, encoding="utf-8")
    model = load(tmp_path, "extends: mean.yaml\nmodel: {members: {0: {C: 3}}}").model
    assert isinstance(model, MeanConfig)
    assert model.members[0] == TfidfConfig(kind="tfidf", C=3)
    said = "model.members.2: there are 2, counted from 0"
    assert refusal(tmp_path, mean, "model.members.2.epochs=3") == said
    assert refusal(tmp_path, mean, "model.members.02.epochs=3").startswith("model.members.02: there are 2")


@pytest.mark.parametrize(
    "overrides", [("model.kind=camembert", "model.encoder=x"), ("model.encoder=x", "model.kind=camembert")]
)
def test_an_override_of_the_kind_replaces_the_section(tmp_path: Path, overrides: tuple[str, str]) -> None:
    config = load(tmp_path, BASE + "model: {kind: tfidf, C: 2}", *overrides)
    assert config.model == CamembertConfig(kind="camembert", encoder="x")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.C=0", "c.yaml: model.C: Input should be greater than 0 (got 0)"),
        ("model.D=0", "c.yaml: unknown key model.D"),
        ("name.x=3", "c.yaml: name: Input should be a valid string (got {'x': 3})"),
        ("seed=", "c.yaml: seed: Input should be a valid integer (got None)"),
        ("seed", "override 'seed': write it as section.key=value"),
        ("=3", "override '=3': write it as section.key=value"),
        ("model..C=3", "override 'model..C=3': write it as section.key=value"),
        ("seed=[", "override 'seed=[': the value is no valid YAML"),
        (
            "input={before: 1, before: 2}",
            "override 'input={before: 1, before: 2}': the value is no valid YAML (key 'be",
        ),
    ],
)
def test_wrong_overrides(tmp_path: Path, override: str, message: str) -> None:
    assert refusal(tmp_path, TFIDF, override).startswith(message)


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("abc.é: -#'"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "C", "seed", "x"]), inner),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from(["name", "seed", "data", "input", "model", "other"]), trees))
def test_any_yaml_is_a_config_or_one_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with pytest.raises(SelonError, match=r"any\.yaml: "):  # a chance config is never a whole one
        load_config(path, TrainConfig)
