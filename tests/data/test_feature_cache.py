import errno

import ml_dtypes
import numpy as np
import pytest

from sampath_jax.data.feature_cache import GB, FeatureCache

KB = 1000 / GB
ARRAY = np.arange(3 * 5 * 4, dtype=np.float32).reshape(3, 5, 4)  # 240 bytes


def test_memory_then_disk_then_nothing(tmp_path):
    cache = FeatureCache(tmp_path, 0.5 * KB, 0.8 * KB, "weights")
    for i in range(6):
        cache.put(f"tile {i}", ARRAY + i)
    held = [i for i in range(6) if cache.get(f"tile {i}") is not None]
    assert held == [0, 1, 2, 3]  # two of 240 bytes in 500; two files of 368 bytes in 800
    assert len(list(tmp_path.rglob("*.npy"))) == 2
    for i in held:
        np.testing.assert_array_equal(cache.get(f"tile {i}"), ARRAY + i)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float16])
def test_disk_keeps_values_and_dtype_for_the_next_run(tmp_path, dtype):
    FeatureCache(tmp_path, 0.0, 1.0, "weights").put("tile", ARRAY.astype(dtype))
    again = FeatureCache(tmp_path, 0.0, 1.0, "weights").get("tile")
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, ARRAY.astype(dtype))


def test_other_weights_share_nothing_but_the_space(tmp_path):
    FeatureCache(tmp_path, 0.0, 0.5 * KB, "weights").put("tile", ARRAY)
    other = FeatureCache(tmp_path, 0.0, 0.5 * KB, "other weights")
    assert other.get("tile") is None
    other.put("tile", ARRAY)
    assert other.get("tile") is None


def test_a_damaged_file_counts_as_missing(tmp_path):
    FeatureCache(tmp_path, 0.0, 1.0, "weights").put("tile", ARRAY)
    (file,) = tmp_path.rglob("*.npy")
    file.write_bytes(file.read_bytes()[:150])
    cache = FeatureCache(tmp_path, 0.0, 1.0, "weights")
    assert cache.get("tile") is None
    cache.put("tile", ARRAY)
    np.testing.assert_array_equal(cache.get("tile"), ARRAY)


def test_a_full_disk_only_ends_caching(tmp_path, monkeypatch, capsys):
    def full(file, array):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    cache = FeatureCache(tmp_path, 0.0, 1.0, "weights")
    cache.put("tile", ARRAY)
    assert cache.get("tile") is None
    assert "No space left" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.tmp"))
