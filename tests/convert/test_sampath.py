import json
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from box import Box, BoxList

from convert import sampath, to_torch
from sampath_jax.errors import InputError
from sampath_jax.trees import flatten
from sampath_jax.workdir import load_model
from tests.convert.published import neck, random_state, sam_shapes, trained_shapes

SYSTEMS = {("sam", "hipt"): "bcss", ("sam",): "bcss_sam_only", ("hipt",): "bcss_hipt_only"}
CONFIGS = Path(__file__).parents[2] / "configs"


def checkpoint(encoders, classes=5, settings=True, **cfg):
    """What Lightning writes: tensors, counters, and python-box objects in the hyper-parameters."""
    content = {
        "epoch": 2,
        "global_step": 9,
        "pytorch-lightning_version": "2.0.2",
        "state_dict": random_state(trained_shapes(encoders, classes)),
        "optimizer_states": [{"state": {0: {"step": torch.tensor(9.0), "exp_avg": torch.ones(2)}}}],
    }
    if settings:
        model = {"type": "vit_b", "no_sam": encoders == ("hipt",)} | cfg
        content["hyper_parameters"] = {"cfg": Box({"model": model}), "lr_steps": BoxList([1800, 2088])}
    return content


def arguments(tmp_path, encoders, *options):
    return [
        *("--input", str(tmp_path / "last.ckpt"), "--output", str(tmp_path / "run")),
        *("--config", str(CONFIGS / f"{SYSTEMS[encoders]}.py")),
        *("--config.model.sam=tiny", "--config.model.hipt=tiny", "--config.model.input_size=64,96"),
        *options,
    ]


def run(tmp_path, content, encoders=("sam", "hipt"), *options):
    torch.save(content, tmp_path / "last.ckpt")
    sampath.main(arguments(tmp_path, encoders, *options))


def refused(tmp_path, content, match, encoders=("sam", "hipt"), *options):
    with pytest.raises(InputError, match=match):
        run(tmp_path, content, encoders, *options)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]  # nothing half-written


@pytest.mark.parametrize("encoders", SYSTEMS)
def test_there_and_back_is_exact_for_every_system(tmp_path, encoders):
    content = checkpoint(encoders)
    run(tmp_path, content, encoders)
    loaded = load_model(tmp_path / "run")
    assert loaded.step == 9

    to_torch.main(["--input", str(tmp_path / "run"), "--output", str(tmp_path / "back.ckpt")])
    back = torch.load(tmp_path / "back.ckpt", weights_only=True)
    assert back["global_step"] == 9
    assert back["classes"][0] == "tumor"
    state = content["state_dict"]
    if encoders == ("hipt",):  # the published model holds SAM's encoder without running it
        state = {name: tensor for name, tensor in state.items() if ".image_encoder." not in name}
    assert back["state_dict"].keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(back["state_dict"][name], tensor), name


def test_the_work_directory_is_self_contained(tmp_path, capsys):
    run(tmp_path, checkpoint(("sam", "hipt")))
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere")
    (tmp_path / "last.ckpt").unlink()
    config = json.loads((moved / "config.json").read_text())["config"]
    assert config["weights"] == {"sam": "weights/sam", "hipt": "weights/hipt"}
    origin = json.loads((moved / "conversion.json").read_text())
    assert (origin["source"], origin["source_tensors"]) == ("last.ckpt", 268)
    model = load_model(moved).model
    logits, iou = jax.jit(lambda model, image: model(image))(model, np.zeros((1, 64, 96, 3), np.uint8))
    assert (logits.shape, iou.shape) == ((1, 16, 24, 6), (1, 6))
    assert np.isfinite(logits).all()
    assert "SAM-Path with sam and hipt from last.ckpt" in capsys.readouterr().out


def test_channels_and_tensors_keep_their_places(tmp_path):
    content = checkpoint(("sam", "hipt"))
    run(tmp_path, content)
    ours = flatten(load_model(tmp_path / "run").model)
    state = content["state_dict"]
    value = {path.removesuffix("/value"): np.asarray(leaf) for path, leaf in ours.items()}
    np.testing.assert_array_equal(
        value["neck/conv1/kernel"], state["model.fusion_neck.0.weight"].permute(2, 3, 1, 0).numpy()
    )
    np.testing.assert_array_equal(
        value["mask_decoder/mask_tokens"], state["model.model.mask_decoder.mask_tokens.weight"].numpy()
    )
    for i in range(7):
        np.testing.assert_array_equal(
            value["mask_decoder/output_hypernetworks_mlps/layers/2/kernel"][i],
            state[f"model.model.mask_decoder.output_hypernetworks_mlps.{i}.layers.2.weight"].T.numpy(),
        )


def test_both_necks_summed_is_refused(tmp_path):
    content = checkpoint(("hipt",), no_sam=False)
    refused(tmp_path, content, r"both encoders' necks summed.*none of the paper's systems", ("hipt",))
    refused(tmp_path, checkpoint(("hipt",), no_sam=None), "necks summed", ("hipt",))


def test_without_hyper_parameters_the_config_decides(tmp_path, capsys):
    content = checkpoint(("hipt",), settings=False)
    refused(tmp_path, content, r"encoders \('hipt',\), but config\.model\.encoders is \('sam', 'hipt'\)")
    run(tmp_path, content, ("hipt",))
    assert "does not say whether SAM's encoder was on" in capsys.readouterr().err


@pytest.mark.parametrize("encoders", SYSTEMS)
def test_other_encoders_than_the_configs(tmp_path, encoders):
    other = ("sam",) if encoders != ("sam",) else ("sam", "hipt")
    refused(
        tmp_path,
        checkpoint(encoders),
        r"was trained with the encoders .* add --config\.model\.encoders=",
        other,
    )


def test_the_advice_to_change_the_encoders_works(tmp_path):
    with pytest.raises(InputError, match="add --config") as caught:
        run(tmp_path, checkpoint(("sam", "hipt")), ("sam",))
    advice = str(caught.value).rpartition("add ")[2].replace('"', "")
    run(tmp_path, checkpoint(("sam", "hipt")), ("sam",), advice, "--config.model.train_neck=true")


def test_another_number_of_classes(tmp_path):
    refused(
        tmp_path, checkpoint(("sam", "hipt"), classes=2), r"trained on 2 classes \(num_classes=3 .* lists 5"
    )


def test_another_model(tmp_path):
    refused(tmp_path, random_state(sam_shapes()), r"not a SAM-Path checkpoint.*use convert\.sam")


def test_missing_extra_and_bad_tensors(tmp_path):
    content = checkpoint(("sam", "hipt"))
    state = content["state_dict"]
    removed = state.pop("model.fusion_neck.1.bias")
    refused(tmp_path, content, r"1 missing tensors \(model\.fusion_neck\.1\.bias \[256\]\)")
    state["model.fusion_neck.1.bias"] = removed * torch.nan
    refused(tmp_path, content, r"NaN or infinite values \(model\.fusion_neck\.1\.bias\)")
    state["model.fusion_neck.1.bias"] = removed
    content["state_dict"] = state | random_state(neck("model.other", 8))
    refused(tmp_path, content, r"6 unknown tensors \(model\.other\.0\.weight \[256, 8, 1, 1\]")


def test_an_existing_output_is_kept(tmp_path):
    content = checkpoint(("sam", "hipt"))
    run(tmp_path, content)
    before = (tmp_path / "run" / "conversion.json").read_text()
    content["state_dict"]["model.fusion_neck.1.bias"] += 1
    with pytest.raises(InputError, match="exists already and is kept"):
        run(tmp_path, content)
    assert (tmp_path / "run" / "conversion.json").read_text() == before
    run(tmp_path, content, ("sam", "hipt"), "--overwrite")
    assert (tmp_path / "run" / "conversion.json").read_text() != before
    (tmp_path / "run" / "conversion.json").unlink()  # as in a work directory that was trained here
    with pytest.raises(InputError, match="was not written by this command and is kept"):
        run(tmp_path, content, ("sam", "hipt"), "--overwrite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "run"]
