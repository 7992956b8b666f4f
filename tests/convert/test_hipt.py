import argparse

import numpy as np
import pytest
import torch

from convert import hipt
from convert.table import revert
from sampath_jax.errors import InputError
from sampath_jax.models.config import HiptConfig
from sampath_jax.trees import flatten
from sampath_jax.weights import read_weights
from tests.convert.published import HIPT_TINY, empty_state, hipt_shapes, random_state, sam_shapes

HEAD = {"head.mlp.0.weight": (8, 48), "head.mlp.0.bias": (8,), "head.last_layer.weight_g": (9, 1)}


@pytest.fixture(scope="module")
def body():
    return random_state(hipt_shapes(*HIPT_TINY))


def run(tmp_path, state, *options):
    torch.save(state, tmp_path / "hipt.pth")
    hipt.main(["--input", str(tmp_path / "hipt.pth"), "--output", str(tmp_path / "out"), *options])
    return read_weights(tmp_path / "out")


def refused(tmp_path, state, match):
    with pytest.raises(InputError, match=match):
        run(tmp_path, state)
    assert [path.name for path in tmp_path.iterdir()] == ["hipt.pth"]


def prefixed(prefix, state, head):
    named = {f"backbone.{name}": tensor for name, tensor in state.items()}
    return {f"{prefix}{name}": tensor for name, tensor in (named | head).items()}


@pytest.mark.parametrize("prefix", ["", "module."], ids=["bare", "data-parallel"])
def test_the_teacher_of_a_dino_checkpoint(tmp_path, body, prefix, capsys):
    head = random_state(HEAD)
    student = random_state(hipt_shapes(*HIPT_TINY), seed=1)
    checkpoint = {
        "student": prefixed("module.", student, head),
        "teacher": prefixed(prefix, body, head),
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small"),
        "dino_loss": {"center": torch.zeros(1, 9)},
    }
    weights = run(tmp_path, checkpoint)
    ours = weights.tree["hipt_encoder"]
    np.testing.assert_array_equal(ours["pos_embed"], body["pos_embed"].numpy(), strict=True)
    np.testing.assert_array_equal(
        ours["blocks"]["2"]["mlp"]["fc1"]["kernel"], body["blocks.2.mlp.fc1.weight"].T
    )
    np.testing.assert_array_equal(
        ours["patch_embed"]["kernel"], body["patch_embed.proj.weight"].permute(2, 3, 1, 0).numpy()
    )
    assert weights.manifest["unused_tensors"] == {"DINO's projection head, needed only for its training": 3}
    assert "projection head" in capsys.readouterr().out


def test_a_bare_state_dict_there_and_back_is_exact(tmp_path, body):
    back = revert(flatten(run(tmp_path, body).tree), hipt.ROWS)
    assert back.keys() == body.keys()
    for name, tensor in body.items():
        np.testing.assert_array_equal(back[name], tensor.numpy(), strict=True)


def test_full_size_is_recognised(tmp_path):
    torch.save(empty_state(hipt_shapes(384, 12, 14)), tmp_path / "hipt.pth")
    from convert.source import open_source

    converted, size = hipt.convert_hipt(open_source(tmp_path / "hipt.pth"))
    assert (size, converted.used) == ("vit_s", 150)
    assert sum(array.size for array in converted.arrays.values()) == 21_665_664


def test_no_row_is_dead():
    paths = hipt.hipt_shapes(HiptConfig.tiny())
    for row in hipt.ROWS:
        assert any(row.torch_name(path) for path in paths), row


def test_another_vision_transformer(tmp_path):
    refused(tmp_path, random_state(hipt_shapes(64, 1, 14)), r"another vision transformer.*\[1, 197, 64\]")


def test_another_model(tmp_path):
    refused(tmp_path, random_state(sam_shapes()), r"not a file of HIPT.*use convert\.sam")


def test_missing_extra_and_bad_tensors(tmp_path, body):
    state = dict(body)
    del state["norm.bias"]
    refused(tmp_path, state, r"1 missing tensors \(norm\.bias \[48\]\)")
    refused(tmp_path, body | {"dist_token": torch.ones(1)}, r"1 unknown tensors \(dist_token \[1\]\)")
    refused(
        tmp_path, body | {"norm.bias": torch.full((48,), torch.inf)}, r"NaN or infinite values \(norm\.bias\)"
    )


def test_an_existing_output_is_kept(tmp_path, body):
    run(tmp_path, body)
    with pytest.raises(InputError, match="exists already and is kept"):
        run(tmp_path, body)
    run(tmp_path, body, "--overwrite")
