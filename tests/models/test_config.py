import jax.numpy as jnp
import pytest

from sampath_jax.config import base_config
from sampath_jax.errors import InputError
from sampath_jax.models.config import SamPathConfig


def experiment(**model):
    config = base_config()
    config.data.classes = tuple({"name": f"class {i}", "values": (i,)} for i in range(5))
    config.model.update(model)
    return config


def test_the_published_model():
    config = SamPathConfig.from_config(experiment())
    assert config.num_classes == 5
    assert (config.sam.width, config.hipt.width, config.feature_width) == (768, 384, 1152)
    assert config.grid == (64, 64)


@pytest.mark.parametrize(("encoders", "width"), [(("sam",), 1280), (("hipt",), 384), (("sam", "hipt"), 1664)])
def test_features_are_as_wide_as_the_encoders_in_use(encoders, width):
    assert SamPathConfig.from_config(experiment(encoders=encoders, sam="vit_h")).feature_width == width


def test_rows_come_before_columns():
    assert SamPathConfig.from_config(experiment(input_size=(256, 320))).grid == (16, 20)


@pytest.mark.parametrize(("name", "dtype"), [("auto", jnp.float32), ("bfloat16", jnp.bfloat16)])
def test_auto_is_float32_on_a_cpu(name, dtype):
    assert SamPathConfig.from_config(experiment(encoder_dtype=name)).compute_dtype == dtype


def test_no_classes():
    with pytest.raises(InputError, match=r"config\.data\.classes is empty"):
        SamPathConfig.from_config(base_config())
