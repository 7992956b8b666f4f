import numpy as np
import pytest

from convert.table import Row, Table, conv, convert, deconv, dense, plan, revert, row
from sampath_jax.errors import InputError

TABLE = Table(
    (
        Row(r"layers\.(\d+)\.(fc\d)\.weight", r"net.layers.\1.\2.kernel", dense),
        Row(r"heads\.(\d+)\.out\.weight", r"net.heads.out.kernel[\1]", dense),
        Row(r"token\.weight", "net.token", row),
    ),
    unused={r"old\..*": "replaced"},
)
SHAPES = {
    "net/layers/0/fc1/kernel": (2, 3),
    "net/layers/10/fc2/kernel": (3, 2),
    "net/heads/out/kernel": (2, 3, 4),
    "net/token": (5,),
}


def tensors():
    shapes = {
        "layers.0.fc1.weight": (3, 2),
        "layers.10.fc2.weight": (2, 3),
        "heads.0.out.weight": (4, 3),
        "heads.1.out.weight": (4, 3),
        "token.weight": (1, 5),
    }
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def refused(change, match):
    state = tensors()
    change(state)
    with pytest.raises(InputError, match=match):
        convert(state, TABLE, SHAPES, "file.pth")


def test_every_parameter_is_filled_in_its_layout():
    state = tensors()
    done = convert(state | {"old.a": np.ones(1), "old.b": np.ones(1)}, TABLE, SHAPES, "file.pth")
    assert {path: array.shape for path, array in done.arrays.items()} == SHAPES
    np.testing.assert_array_equal(done.arrays["net/layers/0/fc1/kernel"], state["layers.0.fc1.weight"].T)
    np.testing.assert_array_equal(done.arrays["net/heads/out/kernel"][1], state["heads.1.out.weight"].T)
    np.testing.assert_array_equal(done.arrays["net/token"], state["token.weight"][0])
    assert (done.used, done.unused) == (5, {"replaced": 2})


def test_there_and_back_is_exact():
    state = tensors()
    back = revert(convert(state, TABLE, SHAPES, "file.pth").arrays, TABLE.rows)
    assert back.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array, strict=True)


@pytest.mark.parametrize(
    ("layout", "torch_shape", "our_shape"),
    [
        (dense, (5, 3), (3, 5)),
        (conv, (7, 3, 2, 1), (2, 1, 3, 7)),
        (deconv, (3, 7, 2, 1), (2, 1, 3, 7)),
        (row, (1, 4), (4,)),
    ],
)
def test_layouts(layout, torch_shape, our_shape):
    tensor = np.arange(np.prod(torch_shape)).reshape(torch_shape)
    assert layout.ours(tensor).shape == our_shape
    np.testing.assert_array_equal(layout.torch(layout.ours(tensor)), tensor)


def test_layouts_number_by_number():
    w = np.arange(24).reshape(2, 3, 2, 2)
    assert conv.ours(w)[1, 0, 2, 1] == w[1, 2, 1, 0]  # (out 1, in 2) at row 1, column 0
    assert deconv.ours(w)[1, 0, 1, 2] == w[1, 2, 1, 0]  # (in 1, out 2)


def test_missing_tensors_are_named_with_their_shapes():
    refused(lambda s: s.pop("heads.1.out.weight"), r"1 missing tensors \(heads\.1\.out\.weight \[4, 3\]\)")


def test_unknown_tensors_are_named_with_their_shapes():
    refused(lambda s: s.update(extra=np.ones((2, 2))), r"1 unknown tensors \(extra \[2, 2\]\)")


def test_other_shapes_are_named():
    refused(lambda s: s.update({"token.weight": np.ones((1, 6))}), r"token\.weight is \[1, 6\], not \[1, 5\]")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value):
    def change(state):
        state["layers.0.fc1.weight"][2, 1] = value

    refused(change, r"1 tensors with NaN or infinite values \(layers\.0\.fc1\.weight\)")


def test_whole_numbers_are_refused():
    refused(lambda s: s.update({"token.weight": np.ones((1, 5), np.int64)}), r"token\.weight is int64")


def test_all_problems_in_one_message_but_only_the_first_few_of_each():
    def change(state):
        state.clear()
        state.update({f"x{i}": np.ones(1) for i in range(9)})

    refused(
        change,
        r"file\.pth: 5 missing tensors \(.*, \.\.\.\); 9 unknown tensors \(x0 \[1\], .*x3 \[1\], \.\.\.\)",
    )


def test_a_table_that_cannot_fill_the_model_is_wrong():
    with pytest.raises(ValueError, match="0 rows of the table fill net/norm"):
        plan(TABLE.rows, SHAPES | {"net/norm": (3,)})
    with pytest.raises(ValueError, match="2 rows of the table fill net/token"):
        plan((*TABLE.rows, Row("other", "net.token")), SHAPES)


def test_half_precision_becomes_float32():
    state = {name: tensor.astype(np.float16) for name, tensor in tensors().items()}
    arrays = convert(state, TABLE, SHAPES, "file.pth").arrays
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
