"""Segment-everything against the mask-generation pipeline of transformers, and its parts by hand."""

import dataclasses
import sys
import types

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline
from transformers.models.sam import image_processing_pil_sam
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from sampath_jax.config import base_config
from sampath_jax.errors import InputError
from sampath_jax.models.config import SamEncoderConfig
from sampath_jax.prompting.everything import (
    EverythingOptions,
    Masks,
    clean_small_regions,
    point_grid,
)
from sampath_jax.prompting.geometry import Frame
from sampath_jax.prompting.predictor import PromptableSam
from tests.prompting.hugging_face_sam import ours_and_theirs
from tests.shared import SHARED, needs_shared


def test_points_are_the_centres_of_the_cells():
    grid = point_grid(2, Frame(height=40, width=100, side=256))
    np.testing.assert_array_equal(grid, [[25, 10], [75, 10], [25, 30], [75, 30]])


def plain_batched_nms(boxes, scores, idxs, iou_threshold):
    """What torchvision's does, box by box; there is one group only."""
    kept = []
    for i in torch.argsort(scores, descending=True, stable=True).tolist():
        a = boxes[i]
        clear = True
        for j in kept:
            b = boxes[j]
            overlap = (torch.min(a[2:], b[2:]) - torch.max(a[:2], b[:2])).clamp(min=0).prod()
            union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - overlap
            clear = clear and not overlap / union > iou_threshold
        if clear:
            kept.append(i)
    return torch.tensor(kept, dtype=torch.long)


@pytest.fixture
def without_torchvision(monkeypatch):
    """The pipeline needs of torchvision only the suppression of boxes."""
    boxes = types.ModuleType("torchvision.ops.boxes")
    boxes.batched_nms = plain_batched_nms
    for name, module in {
        "torchvision": types.ModuleType("torchvision"),
        "torchvision.ops": types.ModuleType("torchvision.ops"),
        "torchvision.ops.boxes": boxes,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(
        SamImageProcessorPil,
        "post_process_for_mask_generation",
        lambda self, *arguments: image_processing_pil_sam._post_process_for_mask_generation(*arguments),
    )


def their_masks(theirs, image, side, options):
    processor = SamImageProcessorPil(size={"longest_edge": side}, pad_size={"height": side, "width": side})
    generate = pipeline("mask-generation", model=theirs, image_processor=processor, device="cpu")
    answer = generate(
        Image.fromarray(image),
        points_per_batch=options.points_per_batch,
        points_per_crop=options.points_per_side,
        pred_iou_thresh=options.min_predicted_iou,
        stability_score_thresh=options.min_stability,
        stability_score_offset=options.stability_offset,
        crops_nms_thresh=options.box_nms,
    )
    return np.asarray(answer["masks"]), np.asarray(answer["scores"])


def assert_one_to_one(found, masks, scores):
    """Every mask has its partner at the same rank, equal but for pixels on the very edge."""
    assert len(found.masks) == len(masks)
    np.testing.assert_allclose(found.predicted_iou, scores, atol=1e-4)
    for ours, theirs in zip(found.masks, masks, strict=True):
        assert (ours != theirs).mean() < 1e-4


def threshold_between(values, share):
    """Lets `share` of the values through; in the middle of a gap, so that rounding decides nothing."""
    values = np.sort(values)
    i = round((1 - share) * len(values))
    return float((values[i - 1] + values[i]) / 2)


@pytest.fixture(scope="module")
def tiny():
    ours, theirs = ours_and_theirs(SamEncoderConfig.tiny())
    return PromptableSam(ours), theirs


@pytest.mark.parametrize(("box_nms", "at_least"), [(1.0, 10), (0.7, 1)])
def test_the_same_masks_as_the_pipeline(tiny, without_torchvision, box_nms, at_least):
    """Masks of random weights reach all over the image: all stay without suppression, few with it."""
    image = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    image = np.repeat(np.repeat(image, 16, axis=0), 16, axis=1)  # 144 x 208 in blocks that a mask can follow
    assert at_least <= same_masks_as_the_pipeline(*tiny, image, points_per_side=6, box_nms=box_nms)


@needs_shared
@pytest.mark.by_hand
@pytest.mark.full
def test_the_same_masks_as_the_pipeline_on_real_tiles(without_torchvision):
    """ViT-B, three real tiles, with and without suppression; prints how many masks were matched."""
    ours, theirs = ours_and_theirs(SamEncoderConfig.vit_b())
    sam = PromptableSam(ours)
    for file in sorted((SHARED / "data/nuclei/img").iterdir())[:3]:
        image = np.asarray(Image.open(file).convert("RGB"))
        for box_nms, at_least in ((1.0, 20), (0.7, 1)):
            matched = same_masks_as_the_pipeline(sam, theirs, image, points_per_side=8, box_nms=box_nms)
            print(f"{file.name} {image.shape} box_nms {box_nms}: {matched} masks matched one to one")
            assert matched >= at_least


def same_masks_as_the_pipeline(sam, theirs, image, *, points_per_side, box_nms):
    """With filters that about four in ten masks pass; returns how many masks there were."""
    # logits of random weights are small: the usual offset of 1 would call every mask unstable
    grid = EverythingOptions(points_per_side, points_per_batch=16, box_nms=box_nms, stability_offset=0.05)
    loose = dataclasses.replace(grid, min_predicted_iou=-1e9, min_stability=-1.0, box_nms=1.0)
    everything = sam.segment_everything(image, loose)
    options = dataclasses.replace(
        grid,
        min_predicted_iou=threshold_between(everything.predicted_iou, 0.4),
        min_stability=threshold_between(everything.stability, 0.9),
    )
    assert options.min_predicted_iou > 0  # at 0 and below, the pipeline does not filter
    found = sam.segment_everything(image, options)
    assert len(found.masks) < len(everything.masks)
    assert_one_to_one(found, *their_masks(theirs, image, sam.side, options))
    return len(found.masks)


def a_mask(*regions):
    mask = np.zeros((20, 30), bool)
    for rows, columns, value in regions:
        mask[rows, columns] = value
    return mask


def test_small_holes_are_filled_and_small_islands_removed():
    body = (slice(2, 15), slice(2, 15), True)
    mask = a_mask(body, (slice(5, 7), slice(5, 7), False), (slice(17, 19), slice(20, 22), True))
    found = masks_of(mask)
    cleaned = clean_small_regions(found, EverythingOptions(min_region_area=10))
    np.testing.assert_array_equal(cleaned.masks[0], a_mask(body))
    np.testing.assert_array_equal(cleaned.boxes[0], [2, 2, 14, 14])


def test_the_only_region_stays_however_small():
    mask = a_mask((slice(3, 5), slice(3, 5), True))
    cleaned = clean_small_regions(masks_of(mask), EverythingOptions(min_region_area=100))
    np.testing.assert_array_equal(cleaned.masks[0], mask)


def test_of_two_masks_that_cleaning_makes_equal_the_untouched_one_stays():
    body = (slice(2, 15), slice(2, 15), True)
    clean = a_mask(body)
    with_hole = a_mask(body, (slice(5, 6), slice(5, 6), False))
    kept = clean_small_regions(masks_of(with_hole, clean), EverythingOptions(min_region_area=10))
    np.testing.assert_array_equal(kept.predicted_iou, [0.5])


def masks_of(*masks):
    count = len(masks)
    scores = np.array([1.0, 0.5])[:count]
    return Masks(
        np.stack(masks), scores, scores, np.zeros((count, 4), np.float32), np.zeros((count, 2), np.float32)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("points_per_side", 0), ("points_per_batch", 0), ("box_nms", float("nan")), ("min_region_area", -1)],
)
def test_options_that_make_no_sense_are_refused(name, value):
    with pytest.raises(InputError, match=f"{name} is"):
        EverythingOptions(**{name: value})


def test_options_are_those_of_the_config():
    config = base_config()
    assert EverythingOptions.from_config(config) == EverythingOptions()
    changes = {"points_per_side": 5, "min_predicted_iou": 0.5, "box_nms": 0.25, "min_region_area": 9}
    config.baseline.update(changes)
    assert EverythingOptions.from_config(config) == EverythingOptions(**changes)


def test_everything_on_an_embedded_image_with_clean_up_and_nothing_found(tiny):
    sam = tiny[0]
    embedded = sam.embed(np.random.default_rng(3).integers(0, 256, (33, 50, 3), dtype=np.uint8))
    grid = EverythingOptions(2, 3, min_predicted_iou=-1e9, min_stability=-1.0, box_nms=1.0)
    found = sam.segment_everything(embedded, grid)
    assert found.masks.shape == (12, 33, 50)
    prompt = sam.predict(embedded, points=found.points[:1])
    assert any(np.array_equal(found.masks[0], mask) for mask in prompt.masks[0]), "unpacked as predicted"
    cleaned = sam.segment_everything(embedded, dataclasses.replace(grid, min_region_area=10_000))
    islands = [cv2.connectedComponents(mask.astype(np.uint8))[0] - 1 for mask in cleaned.masks]
    assert set(islands) == {1}
    none = sam.segment_everything(embedded, dataclasses.replace(grid, min_predicted_iou=1e9))
    assert none.masks.shape == (0, 33, 50)
