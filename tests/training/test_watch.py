import json

import jax.numpy as jnp
import pytest

from sampath_jax.training.watch import LossWatch, Means, NotFinite


def metrics(loss, norm=1.0):
    return {"loss": jnp.float32(loss), "grad_norm": jnp.float32(norm)}


def test_every_step_is_read_once_and_in_order():
    watch = LossWatch()
    for step in range(1, 6):
        watch.add(step, metrics(step))
    assert [float(values["loss"]) for values in watch.take()] == [1, 2, 3, 4, 5]
    watch.add(6, metrics(6))
    assert [float(values["loss"]) for values in watch.take()] == [6]


@pytest.mark.parametrize("bad", [metrics(float("nan")), metrics(float("inf")), metrics(1.0, float("nan"))])
def test_the_first_step_that_is_not_finite_is_named(bad):
    watch = LossWatch()
    for step, values in ((7, metrics(1.0)), (8, bad), (9, metrics(float("nan")))):
        watch.add(step, values)
    with pytest.raises(NotFinite) as error:
        watch.take()
    assert error.value.step == 8


def test_means_go_on_after_json():
    means = Means()
    assert means.means() == {}
    means.add({"loss": 1.0})
    means.add({"loss": 2.0})
    again = Means(json.loads(json.dumps(means.state())))
    again.add({"loss": 6.0})
    assert again.means() == {"loss": 3.0}
