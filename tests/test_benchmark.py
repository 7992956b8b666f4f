"""The benchmark: what it counts is right, and its PyTorch baselines are the same model."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sampath_jax import benchmark, compilation_cache
from sampath_jax.benchmarking import data_work, memory, report
from sampath_jax.benchmarking.flops import matrix_flops
from sampath_jax.benchmarking.runner import Measurement
from sampath_jax.data.source import FileSource
from sampath_jax.errors import InputError
from sampath_jax.initial_values import random_weights
from sampath_jax.models.abstract import shapes_of
from sampath_jax.models.config import HiptConfig, SamEncoderConfig, SamPathConfig
from sampath_jax.models.sam_path import SamPath
from sampath_jax.trees import flatten
from sampath_jax.weights import abstract_model, fill
from tests.data import made

DEMO = str(Path(__file__).parents[1] / "configs" / "demo.py")
SMALL = SamPathConfig(
    num_classes=3,
    sam=SamEncoderConfig(width=24, depth=2, heads=2, global_blocks=(1,), window=3, grid=(8, 8)),
    hipt=HiptConfig(width=12, depth=1, heads=2, grid=4),
    input_size=(128, 128),
)


def test_flops_of_products():
    a, b = jnp.ones((2, 3)), jnp.ones((3, 4))
    assert matrix_flops(lambda a, b: jnp.exp(a @ b), a, b) == 2 * 2 * 3 * 4


def test_flops_of_convolution():
    image, kernel = jnp.ones((1, 8, 12, 3)), jnp.ones((4, 4, 3, 5))

    def patches(image, kernel):
        return jax.lax.conv_general_dilated(
            image, kernel, (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    assert matrix_flops(patches, image, kernel) == 2 * (2 * 3) * (4 * 4 * 3) * 5


def test_flops_of_loops_and_branches():
    x = jnp.ones((2, 2))  # a product is 16

    def loop(x):
        return jax.lax.scan(lambda c, _: (c @ x, None), x, None, length=5)[0]

    def branch(x):
        return jax.lax.cond(x[0, 0] > 0, lambda: x, lambda: x @ x @ x)

    assert matrix_flops(jax.jit(loop), x) == 5 * 16
    assert matrix_flops(branch, x) == 2 * 16
    with pytest.raises(ValueError, match="unknown length"):
        matrix_flops(lambda x: jax.lax.while_loop(lambda c: c[0, 0] < 9, lambda c: c @ x, x), x)


def test_flops_of_the_published_size():
    """0.97 TFLOP in SAM ViT-B and 0.49 in HIPT ViT-S per 1024 x 1024 tile."""
    model = nnx.eval_shape(lambda: SamPath(SamPathConfig(5, attention="reference"), rngs=nnx.Rngs(0)))
    graphdef, state = nnx.split(model)
    tile = jax.ShapeDtypeStruct((1, 1024, 1024, 3), jnp.float32)
    sam = matrix_flops(lambda s, x: nnx.merge(graphdef, s).sam_encoder(x), state, tile)
    hipt = matrix_flops(lambda s, x: nnx.merge(graphdef, s).hipt_encoder(x), state, tile)
    assert sam == pytest.approx(0.966e12, rel=0.001)
    assert hipt == pytest.approx(0.486e12, rel=0.001)


@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize("encoders", [("sam", "hipt"), ("hipt",)])
def test_torch_baselines_are_the_same_model(best, encoders):
    torch = pytest.importorskip("torch")
    from sampath_jax.benchmarking import torch_model

    config = dataclasses.replace(SMALL, encoders=encoders)
    empty = abstract_model(config)
    ours = fill(empty, random_weights(shapes_of(empty), 0))
    theirs = torch_model.SamPath(config, best=best)
    torch_model.load(theirs, flatten(nnx.as_pure(nnx.state(ours))))
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 160, 3), np.uint8)
    logits, iou = jax.jit(nnx.merge, static_argnums=0)(*nnx.split(ours))(jnp.asarray(images))
    with torch.no_grad():
        their_logits, their_iou = theirs(torch.as_tensor(images))
    np.testing.assert_allclose(their_logits.permute(0, 2, 3, 1), logits, atol=1e-4)
    np.testing.assert_allclose(their_iou, iou, atol=1e-5)


def test_command_measures_and_writes(tmp_path, capsys):
    """One subject of ours, in a process of its own, at the demo's size."""
    output = tmp_path / "result.json"
    arguments = ["--config", DEMO, "--subjects", "evaluate", "--repeats", "2", "--batch", "3"]
    benchmark.main([*arguments, "--output", str(output)])
    result = json.loads(output.read_text())
    peak, evaluate = result["measurements"]
    assert (peak["subject"], evaluate["subject"], evaluate["contestant"]) == ("peak", "evaluate", "jax")
    assert result["peak_flops_per_second"]["jax"] == max(peak["rates"]) > 0
    assert (evaluate["tiles"], evaluate["batch"], len(evaluate["seconds"])) == (3, 3, 2)
    assert evaluate["flops"] > 0
    assert evaluate["host_bytes"] > evaluate["program_bytes"]
    assert evaluate["compile_seconds"] > 0
    assert evaluate["again_seconds"] > 0
    assert result["config"]["weights"]["sam"] == "random"
    assert result["versions"]["jax"] == jax.__version__
    assert "evaluate, batch 3" in capsys.readouterr().out


@pytest.mark.parametrize("contestant", ["jax", "decoder"])
def test_pipeline_and_decoder_are_timed_on_the_same_tiles(contestant, tmp_path, monkeypatch):
    config = made.config(made.published(tmp_path))
    loaded = []
    load = FileSource.encoded
    monkeypatch.setattr(FileSource, "encoded", lambda self, i: loaded.append(i) or load(self, i))
    work = data_work.prepare(contestant, config)
    for _ in range(2):
        loaded.clear()
        work.run()
        assert len(loaded) == work.tiles
        assert Counter(loaded) == dict.fromkeys(range(7), work.tiles // 7)  # the training split, in epochs


def measurement(**values):
    defaults = {f.name: None for f in dataclasses.fields(Measurement)}
    defaults |= {"seconds": [1.0], "rates": [], "batch": 1, "tiles": 1, "flops": 0, "compile_seconds": 0.0}
    defaults |= {"cpu_seconds": [1.0], "dtype": "float32"}
    return Measurement(**defaults | values)


def test_table_shows_share_of_peak_and_ratio(capsys):
    """100 GFLOP in a second of 200 GFLOP/s is half the peak; 3 s against 1 s is 3 times ours."""
    report.print_tables(
        [
            measurement(contestant="jax", subject="peak", rates=[1e11, 2e11]),
            measurement(contestant="jax", subject="forward", seconds=[1.5, 1.0], flops=10**11),
            measurement(contestant="torch-original", subject="forward", seconds=[3.0, 4.0], flops=10**11),
        ]
    )
    ours, theirs = (
        line.split() for line in capsys.readouterr().out.splitlines() if "100" in line or "3.000" in line
    )
    assert "50%" in ours
    assert "1.00" in ours
    assert "17%" in theirs
    assert "3.00" in theirs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subjects", "forward,sideways"], "sideways"),
        (["--batch", "0"], "whole numbers"),
        (["--repeats", "0"], "at least 1"),
        (["--output", "/nowhere/at/all.json"], "no folder /nowhere/at"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        benchmark.main(arguments)


@pytest.mark.skipif(not memory.STATUS.exists(), reason="the system does not tell a process's peak memory")
def test_peak_memory_is_counted_from_the_reset():
    array = np.ones(2**26, np.uint8)  # 67 MB
    del array
    memory.reset_peak()
    before = memory.peak_host_bytes()
    array = np.ones(2**27, np.uint8)
    assert memory.peak_host_bytes() - before == pytest.approx(array.nbytes, rel=0.1)


def test_compilation_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compilation_cache.default_folder() == tmp_path / "sampath-jax" / "xla"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "mine"))
    assert compilation_cache.default_folder() == tmp_path / "mine"
