import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers import SamConfig, SamModel

from convert import hugging_face, sam
from convert.source import open_source
from convert.table import revert
from convert.torch_writer import write_torch
from sampath_jax.errors import InputError
from sampath_jax.models.config import SamEncoderConfig
from sampath_jax.models.sam import Sam
from sampath_jax.trees import flatten
from sampath_jax.weights import fill, read_weights
from tests.convert.published import SAM_LARGE, empty_state, hipt_shapes, random_state, sam_shapes


@pytest.fixture(scope="module")
def tiny():
    return random_state(sam_shapes())


def run(tmp_path, state, *options, name="sam.pth"):
    torch.save(state, tmp_path / name)
    sam.main(["--input", str(tmp_path / name), "--output", str(tmp_path / "out"), *options])
    return read_weights(tmp_path / "out")


def refused(tmp_path, state, match, *options, name="sam.pth"):
    with pytest.raises(InputError, match=match):
        run(tmp_path, state, *options, name=name)
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing half-written


def test_every_tensor_lands_where_it_belongs(tmp_path, tiny, capsys):
    weights = run(tmp_path, tiny)
    ours = flatten(weights.tree)
    assert sum(array.size for array in ours.values()) == sum(tensor.numel() for tensor in tiny.values())
    expected = {
        "sam_encoder/pos_embed": tiny["image_encoder.pos_embed"],
        "sam_encoder/blocks/3/attn/qkv/kernel": tiny["image_encoder.blocks.3.attn.qkv.weight"].T,
        "sam_encoder/blocks/1/attn/rel_pos_w": tiny["image_encoder.blocks.1.attn.rel_pos_w"],
        "neck/conv2/kernel": tiny["image_encoder.neck.2.weight"].permute(2, 3, 1, 0),
        "neck/norm2/scale": tiny["image_encoder.neck.3.weight"],
        "prompt_encoder/no_mask_embed": tiny["prompt_encoder.no_mask_embed.weight"][0],
        "mask_decoder/mask_tokens": tiny["mask_decoder.mask_tokens.weight"],
        "mask_decoder/output_upscaling_conv1/kernel": tiny["mask_decoder.output_upscaling.0.weight"].permute(
            2, 3, 0, 1
        ),
    }
    for path, tensor in expected.items():
        np.testing.assert_array_equal(ours[path], tensor.numpy(), strict=True)
    for i in range(4):
        np.testing.assert_array_equal(
            ours["mask_decoder/output_hypernetworks_mlps/layers/2/bias"][i],
            tiny[f"mask_decoder.output_hypernetworks_mlps.{i}.layers.2.bias"].numpy(),
        )
        np.testing.assert_array_equal(
            ours["prompt_encoder/point_embeddings"][i], tiny[f"prompt_encoder.point_embeddings.{i}.weight"][0]
        )
    printed = capsys.readouterr().out
    assert "sam tiny from sam.pth (torch zip)" in printed
    assert re.search(r"prompt_encoder.*14.*6,476 numbers", printed)


def test_manifest(tmp_path, tiny):
    manifest = run(tmp_path, tiny).manifest
    digest = subprocess.run(["sha256sum", tmp_path / "sam.pth"], capture_output=True, text=True, check=True)
    assert manifest["source"] == "sam.pth"
    assert manifest["source_sha256"] == digest.stdout.split()[0]
    assert (manifest["model"], manifest["size"], manifest["source_format"]) == ("sam", "tiny", "torch zip")
    assert manifest["source_tensors"] == len(tiny)
    assert set(manifest["versions"]) >= {"sampath-jax", "jax", "flax", "orbax-checkpoint"}
    assert json.loads((tmp_path / "out" / "weights.json").read_text()) == manifest


def test_there_and_back_is_exact(tmp_path, tiny):
    back = revert(flatten(run(tmp_path, tiny).tree), sam.TABLE.rows)
    assert back.keys() == tiny.keys()
    for name, tensor in tiny.items():
        np.testing.assert_array_equal(back[name], tensor.numpy(), strict=True)


@pytest.mark.parametrize("wrap", [
    lambda state: {"model_state": {f"sam.{name}": tensor for name, tensor in state.items()}, "epoch": 3},
    lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    lambda state: {"state_dict": {name: torch.nn.Parameter(tensor) for name, tensor in state.items()}},
])  # fmt: skip
def test_wrapped_checkpoints(tmp_path, tiny, wrap):
    weights = run(tmp_path, wrap(tiny))
    np.testing.assert_array_equal(weights.tree["sam_encoder"]["pos_embed"], tiny["image_encoder.pos_embed"])


def tiny_hugging_face():
    config = SamConfig(
        vision_config={
            "hidden_size": 96,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "mlp_dim": 384,
            "image_size": 256,
            "window_size": 7,
            "global_attn_indexes": [1, 3],
        },
        prompt_encoder_config={"image_size": 256, "image_embedding_size": 16},
    )
    torch.manual_seed(0)
    model = SamModel(config).eval()
    for parameter in model.parameters():  # no zero biases, no unit scales: everything must matter
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def test_hugging_face_gives_the_same_masks(tmp_path):
    theirs = tiny_hugging_face()
    theirs.save_pretrained(tmp_path / "hf")
    file = tmp_path / "hf" / "model.safetensors"
    sam.main(["--input", str(file), "--output", str(tmp_path / "out")])
    abstract = nnx.eval_shape(lambda: Sam(SamEncoderConfig.tiny(), attention="reference", rngs=nnx.Rngs(0)))
    ours = fill(abstract, flatten(read_weights(tmp_path / "out").tree))

    pixels = np.random.default_rng(0).standard_normal((1, 3, 256, 256)).astype(np.float32)
    points = np.array([[[60.0, 200.0]], [[10.0, 30.0]]], np.float32)
    with torch.no_grad():
        expected = theirs(
            pixel_values=torch.from_numpy(pixels),
            input_points=torch.from_numpy(points[None]),
            input_labels=torch.tensor([[[1], [0]]]),
            multimask_output=True,
        )
    answer = jax.jit(lambda sam, image, *prompts: sam.decode(sam.embed(image), *prompts))
    image = jnp.asarray(pixels.transpose(0, 2, 3, 1))
    masks, iou = answer(ours, image, jnp.asarray(points), jnp.array([[1], [0]]))
    theirs_masks = expected.pred_masks[0].numpy()
    scale = np.abs(theirs_masks).max()
    np.testing.assert_allclose(masks[:, 1:], theirs_masks, atol=1e-4 * scale, rtol=0)
    np.testing.assert_allclose(iou[:, 1:], expected.iou_scores[0].numpy(), atol=1e-4)


def test_hugging_face_with_either_copy_of_the_position_code(tmp_path):
    state = tiny_hugging_face().state_dict()
    both = run(tmp_path, state).manifest
    assert both["unused_tensors"] == {"copy of shared_image_embedding": 1}
    del state[hugging_face.POSITIONS]
    assert run(tmp_path, state, "--overwrite").manifest["fingerprint"] == both["fingerprint"]


@pytest.mark.parametrize("table", [sam.TABLE, hugging_face.TABLE], ids=["meta", "hugging face"])
def test_no_row_is_dead(table):
    paths = sam.sam_shapes(SamEncoderConfig.tiny())
    for row in table.rows:
        assert any(row.torch_name(path) or row.torch_name(f"{path}[0]") for path in paths), row


@pytest.mark.parametrize(("size", "count", "numbers"), [
    # The known counts of parameters, and the 256 numbers of the position code.
    ("vit_b", 314, 93_735_472 + 256),
    ("vit_l", 482, 312_342_832 + 256),
    ("vit_h", 594, 641_090_608 + 256),
])  # fmt: skip
def test_large_sizes_are_recognised_and_complete(tmp_path, size, count, numbers):
    state = empty_state(sam_shapes(SAM_LARGE[size]))
    assert len(state) == count
    torch.save(state, tmp_path / f"sam_{size}_0123.pth")
    converted, found = sam.convert_sam(open_source(tmp_path / f"sam_{size}_0123.pth"))
    assert (found, converted.used) == (size, count)
    assert sum(array.size for array in converted.arrays.values()) == numbers


def test_vit_l_given_as_vit_b(tmp_path):
    state = empty_state(sam_shapes(SAM_LARGE["vit_l"]))
    message = r"given as SAM vit_b, but holds vit_l.*\[1, 64, 64, 1024\].*--size vit_l"
    refused(tmp_path, state, message, "--size", "vit_b")


def test_vit_l_named_vit_b(tmp_path):
    state = empty_state(sam_shapes(SAM_LARGE["vit_l"]))
    refused(tmp_path, state, "given as SAM vit_b, but holds vit_l", name="sam_vit_b_01ec64.pth")


def test_unknown_size(tmp_path):
    state = empty_state(sam_shapes((640, 2, 10, 64, (1,), 14)))
    refused(tmp_path, state, r"holds a size that is not known here: .*\[1, 64, 64, 640\]")


def test_another_model(tmp_path):
    refused(tmp_path, random_state(hipt_shapes(48, 1, 14)), r"not a file of SAM.*use convert\.hipt")


def test_missing_extra_and_bad_tensors(tmp_path, tiny):
    state = dict(tiny)
    del state["image_encoder.blocks.2.norm1.bias"], state["mask_decoder.iou_token.weight"]
    refused(tmp_path, state, r"2 missing tensors \(.*blocks\.2\.norm1\.bias \[96\].*\)")
    refused(tmp_path, tiny | {"adapter.up": torch.ones(3)}, r"1 unknown tensors \(adapter\.up \[3\]\)")
    bad = tiny["image_encoder.blocks.0.mlp.lin1.bias"].clone()
    bad[7] = torch.nan
    refused(
        tmp_path,
        tiny | {"image_encoder.blocks.0.mlp.lin1.bias": bad},
        r"NaN or infinite.*blocks\.0\.mlp\.lin1\.bias",
    )


def test_an_existing_output_is_kept(tmp_path, tiny):
    before = run(tmp_path, tiny).manifest
    with pytest.raises(InputError, match=r"exists already and is kept.*--overwrite"):
        run(tmp_path, random_state(sam_shapes(), seed=1))
    assert read_weights(tmp_path / "out").manifest == before
    after = run(tmp_path, random_state(sam_shapes(), seed=1), "--overwrite").manifest
    assert after["fingerprint"] != before["fingerprint"]


def test_help(capsys):
    with pytest.raises(SystemExit) as done:
        sam.main(["--help"])
    assert done.value.code == 0
    assert "--input FILE" in capsys.readouterr().out


@pytest.mark.full
def test_vit_b_converts_in_time_and_memory(tmp_path):
    rng = np.random.default_rng(0)
    shapes = sam_shapes(SAM_LARGE["vit_b"])
    state = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    write_torch(tmp_path / "sam_vit_b.pth", state)
    assert 370e6 < os.path.getsize(tmp_path / "sam_vit_b.pth") < 380e6
    del state
    command = (
        "import re, sys, time; from convert import sam; sam.main(sys.argv[1:]); "
        # the process's own peak: `ru_maxrss` would start from that of the process that forked it
        "peak = re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]; "
        "print(int(peak) * 1024, time.process_time())"
    )
    arguments = ["--input", tmp_path / "sam_vit_b.pth", "--output", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=True
    )
    memory, cpu_seconds = map(float, done.stdout.splitlines()[-1].split())
    assert memory < 2e9
    assert cpu_seconds < 30  # an upper bound of the time on one idle core
