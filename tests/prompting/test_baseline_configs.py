"""Every config of configs/baselines: it loads, and is the system of the paper that it says."""

from pathlib import Path

import pytest

from sampath_jax import sweep, train
from sampath_jax.config import load_config
from sampath_jax.data.labels import LabelSpec
from sampath_jax.errors import InputError
from sampath_jax.prompting.everything import EverythingOptions

CONFIGS = sorted(path for path in Path("configs/baselines").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_baseline_loads(path):
    config = load_config(path)
    assert config.name == path.stem
    assert config.baseline.prompts == ("everything" if "everything" in path.stem else "dots")
    assert f"--config {path}" in path.read_text(), "the docstring shows the command"


def test_the_paper_s_rows():
    vanilla, filtered = (
        load_config(Path(f"configs/baselines/crag_vanilla_sam{suffix}.py")) for suffix in ("", "_filtered")
    )
    assert (vanilla.baseline.largest_share, filtered.baseline.largest_share) == (1.0, 0.5)
    assert vanilla.baseline.object_class in LabelSpec.from_config(vanilla.data).names
    assert (vanilla.data.layout, vanilla.baseline.instances) == ("prepared", "instances")
    everything = load_config(Path("configs/baselines/bcss_everything.py"))
    assert EverythingOptions.from_config(everything) == EverythingOptions()


@pytest.mark.parametrize("command", [train, sweep], ids=["train", "sweep"])
def test_baselines_are_not_trained(command, tmp_path):
    arguments = ["--config", str(CONFIGS[0]), "--workdir", str(tmp_path / "run")]
    swept = ["--sweep.seed=0,1"] if command is sweep else []
    with pytest.raises(InputError, match=r"not trained: run `python -m sampath_jax\.baseline`"):
        command.main([*arguments, *swept])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "override", ["min_predicted_iou=1.5", "stability_offset=-1", "box_nms=2", "min_region_area=-3"]
)
def test_impossible_values_are_refused(override):
    with pytest.raises(InputError, match=f"config.baseline.{override.partition('=')[0]} is"):
        load_config(Path("configs/baselines/bcss_everything.py"), [f"--config.baseline.{override}"])
