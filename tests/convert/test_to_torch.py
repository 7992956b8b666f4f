import pytest
import torch

from convert import hipt, to_torch
from sampath_jax.errors import InputError
from tests.convert.published import HIPT_TINY, hipt_shapes, random_state


@pytest.fixture
def folder(tmp_path):
    state = random_state(hipt_shapes(*HIPT_TINY))
    torch.save(state, tmp_path / "hipt.pth")
    hipt.main(["--input", str(tmp_path / "hipt.pth"), "--output", str(tmp_path / "hipt")])
    return tmp_path / "hipt", state


def test_a_folder_of_weights(folder, capsys):
    path, state = folder
    out = path.parent / "new" / "back.pth"
    to_torch.main(["--input", str(path), "--output", str(out)])
    back = torch.load(out, weights_only=True)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())
    assert "42 tensors used" in capsys.readouterr().out


def test_an_existing_file_is_kept(folder):
    path, _ = folder
    out = path.parent / "back.pth"
    out.write_text("mine")
    with pytest.raises(InputError, match="exists already and is kept"):
        to_torch.main(["--input", str(path), "--output", str(out)])
    assert out.read_text() == "mine"
    to_torch.main(["--input", str(path), "--output", str(out), "--overwrite"])
    assert torch.load(out, weights_only=True)


def test_what_is_no_work_directory(tmp_path):
    with pytest.raises(InputError, match="not a work directory"):
        to_torch.main(["--input", str(tmp_path), "--output", str(tmp_path / "a.ckpt")])
    assert list(tmp_path.iterdir()) == []
