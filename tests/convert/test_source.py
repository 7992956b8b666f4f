import hashlib
import io
import os
import tarfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from convert.source import open_source, state_dict
from sampath_jax.errors import InputError


class Attack:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_an_attack_is_refused_and_not_executed(tmp_path, zipped):
    path, planted = tmp_path / "evil.pth", tmp_path / "planted"
    torch.save({"a": torch.ones(1), "x": Attack(planted)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        InputError, match=r"evil\.pth is refused.*posix\.system.*nothing was executed.*publisher"
    ):
        open_source(path)
    assert not planted.exists()
    torch.load(path, weights_only=False)  # it would have worked
    assert planted.exists()


def test_safetensors(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    save_file(tensors, path, metadata={"format": "pt"})
    source = open_source(path)
    assert source.format == "safetensors"
    assert source.content["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert source.content["b"].astype(np.float32).tolist() == [1, 1]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"model\.safetensors cannot be read"):
        open_source(path)


def tar():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (tar(), "tar archive"),
        (b"hello world", "neither torch.save nor safetensors"),
        (b"PK\x03\x04 and then nothing", "cut off"),
        (b"\x80\x02K\x01.", "not one that torch.save wrote"),
        (b"\x80\x02", "cannot be read"),
        (b"\x10\0\0\0\0\0\0\0{", "cannot be read"),
    ],
)
def test_what_is_no_file_of_weights(tmp_path, content, message):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"weights\.pth .*{message}"):
        open_source(path)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        open_source(tmp_path / "none.pth")


def test_sha256(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(1)}, path)
    assert open_source(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("key", [None, "state_dict", "model_state", "model"])
def test_state_dict_is_found_where_it_is(tmp_path, key):
    tensors = {"a.b": torch.ones(2)}
    torch.save({key: tensors, "epoch": 3} if key else tensors, tmp_path / "a.pth")
    assert list(state_dict(open_source(tmp_path / "a.pth"))) == ["a.b"]


def test_a_whole_module_is_explained(tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a whole torch\.nn\.modules\.linear\.Linear.*state_dict"):
        state_dict(open_source(tmp_path / "a.pth"))


def test_no_tensors(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="no named tensors"):
        state_dict(open_source(tmp_path / "a.pth"))
