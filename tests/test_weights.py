import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sampath_jax import weights
from sampath_jax.config import base_config
from sampath_jax.errors import InputError
from sampath_jax.initial_values import random_weights
from sampath_jax.models.abstract import abstract, shapes_of
from sampath_jax.models.config import SamEncoderConfig
from sampath_jax.models.freezing import split_head
from sampath_jax.models.mask_decoder import MaskDecoder
from sampath_jax.models.neck import Neck
from sampath_jax.models.prompt_encoder import PromptEncoder
from sampath_jax.models.sam_encoder import SamEncoder
from sampath_jax.trees import fingerprint, flatten, unflatten
from sampath_jax.weights import build_model, frozen_fingerprint, read_weights, write_weights

TREE = {
    "sam_encoder": {"blocks": {"0": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}},
    "neck": {"bias": np.ones(3, np.float32)},
}


def experiment(**model):
    config = base_config()
    config.data.classes = tuple({"name": f"class {i}", "values": (i,)} for i in range(1, 4))
    config.model.update({"sam": "tiny", "hipt": "tiny", "input_size": (64, 96)} | model)
    config.weights.sam, config.weights.hipt = "random", "random"
    return config


def parameters(model):
    return {path: np.asarray(value) for path, value in flatten(nnx.as_pure(nnx.state(model))).items()}


def sam_folder(folder, config=None):
    """Writes a seeded SAM as `convert.sam` would."""
    config = config or SamEncoderConfig.tiny()
    parts = {
        "sam_encoder": lambda rngs: SamEncoder(config, rngs=rngs),
        "neck": lambda rngs: Neck(config.width, rngs=rngs),
        "prompt_encoder": lambda rngs: PromptEncoder(rngs=rngs),
        "mask_decoder": lambda rngs: MaskDecoder(4, rngs=rngs),
    }
    shapes = {f"{part}/{p}": s for part, make in parts.items() for p, s in shapes_of(abstract(make)).items()}
    values = random_weights(shapes, seed=5)
    write_weights(folder, unflatten(values), {"source": "sam.pth"})
    return values


class TestFolders:
    def test_what_is_written_is_read(self, tmp_path):
        write_weights(tmp_path / "deep" / "w", TREE, {"source": "a.pth", "sha256": "12"})
        read = read_weights(tmp_path / "deep" / "w")
        for path, value in flatten(TREE).items():
            np.testing.assert_array_equal(flatten(read.tree)[path], value)
        assert read.manifest["source"] == "a.pth"
        assert (read.manifest["tensors"], read.manifest["parameters"]) == (2, 9)
        assert read.manifest["fingerprint"] == fingerprint(TREE)
        assert set(read.manifest["versions"]) >= {"jax", "flax", "orbax-checkpoint"}

    def test_an_existing_folder_is_kept_unless_told(self, tmp_path):
        write_weights(tmp_path / "w", TREE, {"source": "first"})
        with pytest.raises(InputError, match=r"exists already and is kept.*--overwrite"):
            write_weights(tmp_path / "w", TREE, {"source": "second"})
        assert read_weights(tmp_path / "w").manifest["source"] == "first"
        write_weights(tmp_path / "w", TREE, {"source": "second"}, overwrite=True)
        assert read_weights(tmp_path / "w").manifest["source"] == "second"
        assert [path.name for path in tmp_path.iterdir()] == ["w"]

    def test_a_folder_of_something_else_is_never_overwritten(self, tmp_path):
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(InputError, match="is no folder of weights and is not overwritten"):
            write_weights(tmp_path, TREE, {}, overwrite=True)
        assert (tmp_path / "thesis.tex").exists()

    def test_nothing_half_written_stays(self, tmp_path, monkeypatch):
        def full_disk(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(weights, "_replace", full_disk)
        with pytest.raises(InputError, match="No space left on device"):
            write_weights(tmp_path / "w", TREE, {})
        assert list(tmp_path.iterdir()) == []

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match="there is no folder"):
            read_weights(tmp_path / "w")
        with pytest.raises(InputError, match=r"has no weights\.json"):
            read_weights(tmp_path)

    @pytest.mark.parametrize("damage", ["json", "format", "array", "other"])
    def test_damaged(self, tmp_path, damage):
        folder = tmp_path / "w"
        write_weights(folder, TREE, {})
        manifest = folder / "weights.json"
        if damage == "json":
            manifest.write_text(manifest.read_text()[:20])
        elif damage == "format":
            manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 99}))
        elif damage == "array":
            for path in (folder / "arrays").rglob("*"):
                if path.is_file():
                    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        else:
            manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"fingerprint": "0" * 64}))
        expected = {
            "json": "is damaged",
            "format": "has format 99",
            "array": "cannot be read",
            "other": "are not those that were written",
        }
        with pytest.raises(InputError, match=expected[damage]):
            read_weights(folder)


class TestFingerprint:
    def test_is_of_names_shapes_types_and_bytes(self):
        base = fingerprint({"a": np.zeros((2, 3), np.float32)})
        others = [
            {"b": np.zeros((2, 3), np.float32)},
            {"a": np.zeros((3, 2), np.float32)},
            {"a": np.zeros((2, 3), np.int32)},
            {"a": np.array([[0, 0, 0], [0, 0, 1e-30]], np.float32)},
        ]
        assert len({base, *map(fingerprint, others)}) == 5

    def test_is_not_of_containers_order_or_device(self):
        arrays = [np.ones(2, np.float32), np.zeros(3, np.float32)]
        same = [
            {"x": arrays},
            {"x": {0: arrays[0], 1: arrays[1]}},
            {"x": {"1": arrays[1], "0": jnp.asarray(arrays[0])}},
        ]
        assert len(set(map(fingerprint, same))) == 1

    def test_bfloat16(self):
        assert fingerprint({"a": jnp.ones(2, jnp.bfloat16)}) != fingerprint({"a": jnp.ones(2, jnp.float16)})


class TestBuiltModels:
    def test_depend_on_the_seed_only(self):
        first, same = parameters(build_model(experiment())), parameters(build_model(experiment()))
        other = experiment()
        other.seed = 1
        changed = parameters(build_model(other))
        assert fingerprint(first) == fingerprint(same) != fingerprint(changed)

    def test_the_head_starts_from_sams_decoder(self, tmp_path):
        sam = sam_folder(tmp_path / "sam")
        config = experiment()
        config.weights.sam = str(tmp_path / "sam")
        built = parameters(build_model(config))
        fresh = ("neck/", "mask_decoder/mask_tokens", "mask_decoder/iou_prediction_head/layers/2/")
        for path, value in built.items():
            if "output_hypernetworks_mlps" in path:  # every one is a copy of SAM's first
                np.testing.assert_array_equal(value, np.stack([sam[path][0]] * 5))
            elif path.startswith(fresh):
                assert path not in sam or sam[path].shape != value.shape or (sam[path] != value).any()
            elif not path.startswith("hipt_encoder/"):
                np.testing.assert_array_equal(value, sam[path])
        assert built["mask_decoder/mask_tokens"].shape == (5, 256)

    def test_sam_alone_keeps_its_neck(self, tmp_path):
        sam = sam_folder(tmp_path / "sam")
        config = experiment(encoders=("sam",), train_neck=False)
        config.weights.sam = str(tmp_path / "sam")
        _, _, frozen = split_head(build_model(config))
        np.testing.assert_array_equal(frozen["neck"]["conv1"]["kernel"], sam["neck/conv1/kernel"])

    def test_a_frozen_neck_must_come_from_somewhere(self):
        with pytest.raises(InputError, match="train_neck=False"):
            build_model(experiment(train_neck=False))

    def test_a_trained_head_takes_the_place_of_sams_decoder(self):
        model = build_model(experiment())
        _, head, _ = split_head(model)
        trained = jax.tree.map(lambda x: x + 1, head)
        rebuilt = build_model(experiment(), head=trained)
        assert fingerprint(split_head(rebuilt)[1]) == fingerprint(trained)
        assert frozen_fingerprint(rebuilt) == frozen_fingerprint(model)

    def test_the_work_directory_comes_before_the_current_one(self, tmp_path, monkeypatch):
        config = experiment(encoders=("sam",))
        config.weights.sam = "weights/sam"
        values = sam_folder(tmp_path / "run" / "weights" / "sam")
        (tmp_path / "here" / "weights" / "sam").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "here")
        built = parameters(build_model(config, base=tmp_path / "run"))
        np.testing.assert_array_equal(built["sam_encoder/pos_embed"], values["sam_encoder/pos_embed"])
        with pytest.raises(InputError, match="is no folder of converted weights"):
            build_model(config)

    def test_missing_weights_say_where_to_get_them(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        config = experiment(sam="vit_b")
        config.weights.sam = "weights/sam_vit_b"
        with pytest.raises(InputError) as error:
            build_model(config)
        assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth" in str(error.value)
        assert "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912" in str(error.value)
        command = "python -m convert.sam --input sam_vit_b_01ec64.pth --output weights/sam_vit_b"
        assert command in str(error.value)

    def test_no_weights_at_all(self):
        config = experiment()
        config.weights.hipt = ""
        with pytest.raises(InputError, match=r'config\.weights\.hipt.*"random"'):
            build_model(config)

    def test_weights_of_another_size(self, tmp_path):
        sam_folder(tmp_path / "sam", SamEncoderConfig(48, 1, 2, (0,), grid=(16, 16)))
        config = experiment()
        config.weights.sam = str(tmp_path / "sam")
        with pytest.raises(InputError) as error:
            build_model(config)
        assert "sam_encoder/blocks/1/attn/proj/bias (96,) is missing" in str(error.value)
        assert "more" in str(error.value)
