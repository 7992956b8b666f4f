import json
from pathlib import Path

import pytest

from sampath_jax.config import (
    base_config,
    differences,
    flatten,
    from_json,
    load_config,
    override,
    parse_value,
    set_value,
    to_json,
    validate,
)
from sampath_jax.config_rules import RULES
from sampath_jax.errors import InputError

BCSS = Path("configs/bcss.py")


def test_overrides_keep_types():
    config = load_config(BCSS, ["--config.loss.alpha=0", "--config.data.root=/data", "--config.mesh.model=2"])
    assert (config.loss.alpha, config.data.root, config.mesh.model) == (0.0, "/data", 2)
    assert isinstance(config.loss.alpha, float)
    config = load_config(BCSS, ["--config.optim.drop_epochs=3", "--config.model.encoders=sam"])
    assert (config.optim.drop_epochs, config.model.encoders) == ((3.0,), ("sam",))
    assert isinstance(config.optim.drop_epochs[0], float)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--config.loss.alhpa=1", "nearest known key is config.loss.alpha"),
        ("--config.alpha=1", "nearest known key is config.loss.alpha"),
        ("--config.loss.alpha=1.5", "between 0 and 1"),
        ("--config.loss.alpha=half", "is a float"),
        ("--config.optim.batch_size=2.5", "is a int"),
        ("--config.model.input_size=(1000,1024)", "multiples of 16"),
        ("--config.model.encoders=('hipt','sam')", "('sam', 'hipt')"),
        ("--config.data.canvas=('a','b')", "each at least 16"),
        ("--config.loss.beta=1e999", "0 or more"),
        ("--config.loss.alpha", "--config.loss.alpha=VALUE"),
        ("--config.model.input_size=(1024.0,1024)", "multiples of 16"),
        ("--config.data.ignored=a", "whole numbers from 0 to 255"),
        ("--config.data.ignored=256", "whole numbers from 0 to 255"),
        ("--config.name=a/b", "a name that a folder can have"),
        ("--config.optim.epochs=1", "config.optim.warmup_epochs is 1, but must be less than"),
        ("--config.eval.published_ignored_class=6", "has labels 1 to 5"),
    ],
)
def test_wrong_overrides_are_refused(override, message):
    with pytest.raises(InputError) as error:
        load_config(BCSS, [override])
    assert message in str(error.value)


def test_all_problems_at_once():
    config = base_config()
    config.optim.epochs, config.loss.beta = -1.0, -2.0
    with pytest.raises(InputError) as error:
        validate(config)
    assert "config.optim.epochs is -1.0" in str(error.value)
    assert "config.loss.beta is -2.0" in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("optim.batch_size", True, "int"),
        ("data.val_fold", None, "int"),
        ("data.root", None, "str"),
        ("model.train_neck", None, "bool"),
    ],
)
def test_a_file_cannot_change_the_type_of_a_value(key, value, kind):
    config = base_config()
    section, _, leaf = key.partition(".")
    config[section][leaf] = value  # `ConfigDict` lets these pass
    with pytest.raises(InputError, match=rf"config\.{key} is {value}, but must be a {kind}"):
        validate(config)


def test_defaults_obey_the_rules_and_rules_name_real_keys():
    validate(base_config())
    assert RULES.keys() <= dict(flatten(base_config())).keys()


def test_json_round_trip_keeps_everything():
    config = load_config(BCSS)
    again = from_json(to_json(config))
    assert differences(config, again) == {}
    assert again.data.classes == config.data.classes
    assert json.loads(to_json(config))["optim"]["batch_size"] == 12


def test_differences_name_keys_and_both_values():
    other = load_config(BCSS, ["--config.loss.alpha=0.5"])
    assert differences(load_config(BCSS), other) == {"loss.alpha": (0.25, 0.5)}


def test_a_config_is_locked():
    with pytest.raises((AttributeError, KeyError)):
        load_config(BCSS).loss.gamma = 2.0


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(InputError, match=r"did you mean configs/bcss\.py"):
        load_config(Path("configs/bcs.py"))
    broken = tmp_path / "broken.py"
    broken.write_text(
        "from sampath_jax.config import base_config\n"
        "def get_config():\n    c = base_config()\n    c.optim.batchsize = 3\n    return c\n"
    )
    with pytest.raises(InputError, match="batchsize"):
        load_config(broken)
    broken.write_text("x = 1\n")
    with pytest.raises(InputError, match="get_config"):
        load_config(broken)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("0,-1", (0, -1)), ("true", True), ("False", False), ("runs/x", "runs/x"), ("'a b'", "a b")],
)
def test_parse_value(text, value):
    assert parse_value(text) == value


def test_set_value_refuses_a_flag_for_a_number():
    with pytest.raises(InputError, match="is a float"):
        set_value(base_config(), "loss.alpha", True)


def test_override_takes_keys_with_and_without_dashes():
    config = load_config(BCSS)
    for text in ("--config.seed=3", "config.seed=3", "seed=3"):
        assert override(config, [text]).seed == 3
    assert config.seed == 0
