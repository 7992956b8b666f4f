import errno
import os
import time

import ml_dtypes
import numpy as np
import pytest

from sampath_jax.data.feature_cache import GB, STALE_SECONDS, FeatureCache, Room

ARRAY = np.arange(3 * 5 * 4, dtype=np.float32).reshape(3, 5, 4)  # 240 bytes, 368 on disk


def cache_in(folder, memory=0, disk=10**6, fingerprint="weights", dtype=np.float32):
    return FeatureCache(Room(folder, memory, disk), fingerprint, ARRAY.shape, dtype)


def test_memory_then_disk_then_nothing(tmp_path):
    cache = cache_in(tmp_path, memory=500, disk=800)
    assert cache.capacity == 4  # two of 240 bytes, two files of 368
    for i in range(6):
        cache.put(f"tile {i}", ARRAY + i)
    assert cache.capacity == 4
    held = [i for i in range(6) if cache.get(f"tile {i}") is not None]
    assert held == [0, 1, 2, 3]
    files = list(tmp_path.rglob("*.npy"))
    assert [file.stat().st_size for file in files] == [cache.file_bytes] * 2
    for i in held:
        np.testing.assert_array_equal(cache.get(f"tile {i}"), ARRAY + i)


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for name, age in (("old.7.tmp", 2 * STALE_SECONDS), ("new.8.tmp", 1), ("kept.npy", 2 * STALE_SECONDS)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - age,) * 2)
    Room.open(tmp_path, memory_gb=0.0, disk_gb=1.0)
    assert {path.name for path in folder.iterdir()} == {"new.8.tmp", "kept.npy"}


def test_the_folder_has_one_bound_for_all_that_fill_it(tmp_path):
    room = Room.open(tmp_path, memory_gb=500 / GB, disk_gb=1200 / GB)
    first, second = (FeatureCache(room, name, ARRAY.shape, ARRAY.dtype) for name in ("first", "second"))
    first.reserve(3)  # 1104 bytes: all of the memory and 604 on disk
    assert (room.memory, room.disk, first.capacity) == (0, 596, 3)
    for i in range(4):
        second.put(f"tile {i}", ARRAY)
        first.put(f"tile {i}", ARRAY)
    assert second.get("tile 0") is not None
    assert second.get("tile 1") is None
    assert [first.get(f"tile {i}") is not None for i in range(4)] == [True] * 3 + [False]
    again = Room.open(tmp_path, memory_gb=0.0, disk_gb=1200 / GB, processes=2)
    assert again.disk == (1200 - 2 * 368) // 2


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float16])
def test_disk_keeps_values_and_dtype_for_the_next_run(tmp_path, dtype):
    cache_in(tmp_path, dtype=dtype).put("tile", ARRAY.astype(dtype))
    again = cache_in(tmp_path, dtype=dtype)
    assert again.stored == 1
    assert again.get("tile").dtype == dtype
    np.testing.assert_array_equal(again.get("tile"), ARRAY.astype(dtype))


def test_other_weights_share_nothing(tmp_path):
    cache_in(tmp_path).put("tile", ARRAY)
    assert cache_in(tmp_path, fingerprint="other weights").get("tile") is None
    assert cache_in(tmp_path, dtype=np.int32).get("tile") is None


def test_a_damaged_file_counts_as_missing(tmp_path):
    cache_in(tmp_path).put("tile", ARRAY)
    (file,) = tmp_path.rglob("*.npy")
    file.write_bytes(file.read_bytes()[:150])
    cache = cache_in(tmp_path)
    assert cache.get("tile") is None
    cache.put("tile", ARRAY)
    np.testing.assert_array_equal(cache.get("tile"), ARRAY)


def test_a_full_disk_only_ends_caching(tmp_path, monkeypatch, capsys):
    def full(file, array):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    cache = cache_in(tmp_path)
    cache.put("tile", ARRAY)
    assert cache.get("tile") is None
    assert "No space left" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.tmp"))
