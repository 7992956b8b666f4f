import zipfile

import numpy as np
import pytest
import torch

from convert.torch_file import read_zip
from convert.torch_writer import ALIGNMENT, write_torch

CONTENT = {
    "state_dict": {
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "scalar": np.array(2.5, np.float32),
        "whole": np.arange(3),
        "none": np.zeros((0, 3), np.float32),
    },
    "numbers": [0, 127, 128, -1, -129, 2**40, 1.5],
    "rest": ("ü", None, True, False, {}),
}


@pytest.mark.parametrize("how", [{"weights_only": True}, {"weights_only": True, "mmap": True}])
def test_torch_reads_it(tmp_path, how):
    write_torch(tmp_path / "a.ckpt", CONTENT)
    read = torch.load(tmp_path / "a.ckpt", **how)
    assert read["numbers"] == CONTENT["numbers"]
    assert read["rest"] == CONTENT["rest"]
    for name, array in CONTENT["state_dict"].items():
        np.testing.assert_array_equal(read["state_dict"][name].numpy(), array, strict=True)
        assert read["state_dict"][name].is_contiguous()


def test_we_read_it(tmp_path):
    write_torch(tmp_path / "a.ckpt", CONTENT)
    assert read_zip(tmp_path / "a.ckpt")["state_dict"]["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_storages_are_aligned(tmp_path):
    path = tmp_path / "a.ckpt"
    write_torch(path, {str(i): np.full(i, i, np.float32) for i in range(1, 9)})
    data = path.read_bytes()
    for record in zipfile.ZipFile(path).infolist():
        name, extra = (int.from_bytes(data[record.header_offset + at :][:2], "little") for at in (26, 28))
        assert (record.header_offset + 30 + name + extra) % ALIGNMENT == 0


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_text("old")
    with pytest.raises(TypeError, match="set cannot be written"):
        write_torch(path, {"a": np.ones(2, np.float32), "b": {1, 2}})
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]
