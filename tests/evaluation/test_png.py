import cv2
import numpy as np
import pytest

from sampath_jax.evaluation.png import PngWriter


@pytest.mark.parametrize(
    ("shape", "dtype"), [((37, 20), np.uint8), ((37, 20, 3), np.uint8), ((37, 20), np.uint16)]
)
def test_reads_back_as_written_in_pieces(tmp_path, shape, dtype):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    path = tmp_path / "image.png"
    writer = PngWriter(path, 37, 20, channels=3 if len(shape) == 3 else 1, bits=image.itemsize * 8)
    for start, end in [(0, 1), (1, 30), (30, 37)]:
        writer.write(image[start:end])
        assert not path.exists()
    writer.close()
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read[..., ::-1] if read.ndim == 3 else read, image)
    assert [p.name for p in tmp_path.iterdir()] == ["image.png"]


def test_discarded_file_leaves_nothing(tmp_path):
    writer = PngWriter(tmp_path / "image.png", 4, 4)
    writer.write(np.zeros((2, 4), np.uint8))
    writer.discard()
    assert not list(tmp_path.iterdir())


def test_smooth_maps_become_small(tmp_path):
    ramp = np.tile(np.arange(512, dtype=np.uint8)[:, None] // 2, (1, 512))
    writer = PngWriter(tmp_path / "ramp.png", 512, 512)
    writer.write(ramp)
    writer.close()
    assert (tmp_path / "ramp.png").stat().st_size < 3000
