import argparse
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch

from convert.torch_file import read_legacy, read_zip

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(path, value, zipped=True):
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return read_zip(path) if zipped else read_legacy(path)


def rewrite(path, change):
    """Writes the zip archive again, its records through `change(name, data)`; None drops one."""
    with zipfile.ZipFile(path) as archive:
        records = {name: change(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            if data is not None:
                archive.writestr(name, data)


@FORMATS
@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "float64", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_element_types(tmp_path, zipped, dtype):
    values = torch.tensor([[0, 1, 2], [3, 100, 5]]).to(getattr(torch, dtype))
    read = save(tmp_path / "f.pth", {"a": values}, zipped)["a"]
    expected = getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype
    assert read.dtype == np.dtype(expected)
    np.testing.assert_array_equal(read.astype(np.float64), values.double().numpy())


@FORMATS
def test_views_of_one_storage(tmp_path, zipped):
    whole = torch.arange(24.0).reshape(4, 6)
    views = {
        "whole": whole,
        "turned": whole.T,
        "part": whole[1:3, ::2],
        "repeated": whole[0, :1].expand(5, 1),
        "scalar": whole[2, 3],
        "none": whole[:, :0],
    }
    read = save(tmp_path / "f.pth", views, zipped)
    for name, tensor in views.items():
        np.testing.assert_array_equal(read[name], tensor.numpy(), strict=True)
    assert read["part"].tolist() == [[6, 8, 10], [12, 14, 16]]
    if zipped:
        assert np.shares_memory(read["whole"], read["part"])


@FORMATS
def test_parameters_and_nested_containers(tmp_path, zipped):
    layer = torch.nn.Linear(2, 3)
    value = {
        "state": layer.state_dict(),
        "parameter": layer.weight,
        "args": argparse.Namespace(epochs=3),
        "list": [1, (torch.ones(2), "x")],
    }
    read = save(tmp_path / "f.pth", value, zipped)
    assert list(read["state"]) == ["weight", "bias"]
    np.testing.assert_array_equal(read["parameter"], layer.weight.detach().numpy())
    assert read["args"].state == {"epochs": 3}
    assert read["list"][1][0].tolist() == [1, 1]


def test_types_with_untyped_storage(tmp_path):
    read = save(tmp_path / "f.pth", {"a": torch.tensor([1, 65535], dtype=torch.uint16)})
    assert read["a"].tolist() == [1, 65535]


def test_reading_costs_no_memory(tmp_path):
    read = save(tmp_path / "f.pth", {"a": torch.ones(1000)})
    assert not read["a"].flags.owndata
    assert not read["a"].flags.writeable


def test_archive_compressed_again(tmp_path):
    path = tmp_path / "f.pth"
    torch.save({"a": torch.arange(100.0)}, path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    assert read_zip(path)["a"].tolist() == list(range(100))


@FORMATS
def test_cut_files(tmp_path, zipped):
    path = tmp_path / "f.pth"
    save(path, {"a": torch.ones(1000), "b": torch.ones(1000)}, zipped)
    data = path.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ValueError, match=r"cut off|exhausted|pickle"):
            read_zip(path) if zipped else read_legacy(path)


def test_a_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "f.pth"
    save(path, {"a": torch.full((1000,), 3.0)})
    data = bytearray(path.read_bytes())
    data[data.index(np.float32(3).tobytes() * 10) + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="data/0 is damaged"):
        read_zip(path)


def test_a_missing_or_short_storage_is_noticed(tmp_path):
    path = tmp_path / "f.pth"
    save(path, {"a": torch.ones(10)})
    rewrite(path, lambda name, data: data[:-1] if name.endswith("data/0") else data)
    with pytest.raises(ValueError, match="data/0 is too short"):
        read_zip(path)
    rewrite(path, lambda name, data: None if name.endswith("data/0") else data)
    with pytest.raises(ValueError, match="data/0 is missing"):
        read_zip(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x06K\x01\x86", b"K\x06K\x02\x86"),
        (b"K\x02K\x06\x86", b"K\x03K\x06\x86"),
        (b"K\x06K\x01\x86", b"K\x06J\xff\xff\xff\xff\x86"),
    ],
    ids=["long strides", "large shape", "negative stride"],
)
def test_a_tensor_cannot_reach_outside_its_storage(tmp_path, old, new):
    path = tmp_path / "f.pth"
    save(path, {"a": torch.zeros(2, 6)})

    def change(name, data):
        assert not name.endswith("data.pkl") or old in data
        return data.replace(old, new) if name.endswith("data.pkl") else data

    rewrite(path, change)
    with pytest.raises(ValueError, match=r"outside its storage|unknown way"):
        read_zip(path)


def test_other_archives(tmp_path):
    path = tmp_path / "f.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"no data\.pkl"):
        read_zip(path)
    save(path, {"a": torch.ones(1)})
    rewrite(path, lambda name, data: b"big" if name.endswith("byteorder") else data)
    with pytest.raises(ValueError, match="big-endian"):
        read_zip(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("f/data.pkl", b"N.")
        archive.writestr("f/constants.pkl", b").")
    with pytest.raises(ValueError, match="TorchScript"):
        read_zip(path)
