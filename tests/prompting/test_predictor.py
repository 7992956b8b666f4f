"""Promptable SAM against transformers' SAM: same weights, same prompts, same masks."""

import functools

import numpy as np
import pytest
import torch
from transformers import SamProcessor
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

import sampath_jax
from convert import sam as convert_sam
from sampath_jax.errors import InputError
from sampath_jax.models.config import SamEncoderConfig
from sampath_jax.prompting.everything import EverythingOptions
from sampath_jax.prompting.predictor import PromptableSam
from tests.prompting.hugging_face_sam import ours_and_theirs
from tests.prompting.tiny_sam import write_sam

#: Of the largest absolute value, as for the encoders and the logits of SAM-Path.
EMBEDDING_TOLERANCE, LOGITS_TOLERANCE = 1e-5, 1e-4


@pytest.fixture(scope="module")
def tiny():
    ours, theirs = ours_and_theirs(SamEncoderConfig.tiny())
    return PromptableSam(ours), theirs


#: Prompts of an image, by name.
COMBINATIONS = (
    ("points", "labels"),
    ("boxes",),
    ("points", "labels", "boxes"),
    ("points", "labels", "masks"),
    ("masks",),
)


def test_every_combination_of_prompts_at_tiny_size(tiny):
    compare(*tiny, image_of(90, 140), COMBINATIONS)


@pytest.mark.full
def test_every_kind_of_prompt_at_full_size():
    ours, theirs = ours_and_theirs(SamEncoderConfig.vit_b())
    combinations = (("points", "labels", "boxes"), ("points", "labels", "masks"))
    compare(PromptableSam(ours), theirs, image_of(700, 900), combinations)


def image_of(height, width):
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def compare(ours, theirs, image, combinations):
    """Embedding; `combinations` of prompts; single and multiple masks; the masks at image size.

    Images and coordinates get into the input by transformers' own processor.
    """
    height, width = image.shape[:2]
    side = ours.side
    processor = SamProcessor(
        SamImageProcessorPil(size={"longest_edge": side}, pad_size={"height": side, "width": side})
    )
    inputs = processor(image, return_tensors="pt")
    with torch.no_grad():
        embedding = theirs.get_image_embeddings(inputs["pixel_values"])
    embedded = ours.embed(image)
    close(embedded.embedding[0], embedding[0].permute(1, 2, 0), EMBEDDING_TOLERANCE)

    generator = np.random.default_rng(2)
    points = generator.uniform(0, (width, height), (3, 2, 2)).astype(np.float32)
    labels = np.array([[1, 0], [1, 1], [0, 1]])
    corners = np.sort(generator.uniform(0, (width, height), (3, 2, 2)), axis=1).astype(np.float32)
    boxes = corners.reshape(3, 4)
    masks = generator.normal(size=(3, side // 4, side // 4)).astype(np.float32)
    every = {"points": points, "labels": labels, "boxes": boxes, "masks": masks}
    process = functools.partial(processor, image, return_tensors="pt")
    for names in combinations:
        prompts = {name: every[name] for name in names}
        for multimask in (False, True):
            logits, iou = ask(theirs, embedding, process, prompts, multimask)
            full = processor.post_process_masks(
                logits[None], inputs["original_sizes"], inputs["reshaped_input_sizes"], binarize=False
            )[0]
            answer = ours.predict(embedded, **prompts, multimask=multimask)
            close(answer.low_resolution, logits, LOGITS_TOLERANCE)
            close(answer.predicted_iou, iou, LOGITS_TOLERANCE)
            same_masks(answer.masks, full.numpy())


def ask(theirs, embedding, process, prompts, multimask):
    """Logits and IoUs of every prompt; mask prompts, one per image for `theirs`, are asked image by image."""
    names = {"input_points": "points", "input_labels": "labels", "input_boxes": "boxes"}
    inputs = process(**{name: [prompts[key].tolist()] for name, key in names.items() if key in prompts})
    given = {name: inputs[name] for name in names if name in inputs}
    given = {name: value.float() if value.is_floating_point() else value for name, value in given.items()}
    images = 1
    if "masks" in prompts:
        given = {name: value.transpose(0, 1) for name, value in given.items()}
        given["input_masks"] = torch.tensor(prompts["masks"])[:, None]
        images = len(prompts["masks"])
    with torch.no_grad():
        answer = theirs(
            image_embeddings=embedding.repeat(images, 1, 1, 1), multimask_output=multimask, **given
        )
    return answer.pred_masks.flatten(0, 1), answer.iou_scores.flatten(0, 1)


def close(ours, theirs, tolerance):
    theirs = theirs.numpy()
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def same_masks(masks, logits):
    """Equal wherever the logit is not within its own tolerance of zero."""
    decided = np.abs(logits) > LOGITS_TOLERANCE * np.abs(logits).max()
    assert decided.mean() > 0.999
    np.testing.assert_array_equal(masks[decided], (logits > 0)[decided])


def test_the_best_mask_is_the_one_with_the_highest_predicted_iou(tiny):
    answer = tiny[0].predict(image_of(40, 60), points=np.array([[5, 6], [50, 30]]))
    chosen = answer.predicted_iou.argmax(axis=1)
    for prompt, mask in enumerate(answer.best()):
        np.testing.assert_array_equal(mask, answer.masks[prompt, chosen[prompt]])


@pytest.mark.parametrize(
    ("message", "prompts"),
    [
        ("at least one point, box or mask", {}),
        ("the same number", {"points": np.zeros((0, 2))}),
        ("the same number", {"points": [[1, 1], [2, 2]], "boxes": [[0, 0, 5, 5]]}),
        (r"point \(61, 5\) lies outside the image, which is 60 wide and 40 high", {"points": [[61, 5]]}),
        (r"point \(60, 5\) lies outside", {"points": [[60, 5]]}),
        (r"point \(5, 40\) lies outside", {"points": [[1, 1], [5, 40]]}),
        (r"point \(nan, 5\) lies outside", {"points": [[float("nan"), 5]]}),
        (r"point \(inf, 5\) lies outside", {"points": [[float("inf"), 5]]}),
        (r"points are \[n, 2\].*shape \[2\]", {"points": [5, 6]}),
        (r"points are \[n, 2\].*shape \[1, 3\]", {"points": [[5, 6, 7]]}),
        (r"points are \[n, 2\].*no array of numbers", {"points": [[5, 6], [7]]}),
        (r"points are \[n, 2\].*no array of numbers", {"points": [["left", "top"]]}),
        ("labels are 1", {"points": [[1, 1]], "labels": [2]}),
        (r"one label per point, \[1, 1\]; these have shape \[2\]", {"points": [[1, 1]], "labels": [1, 0]}),
        ("one label per point", {"points": [[[1, 1], [2, 2]]], "labels": [1]}),
        ("labels were given without points", {"labels": [1], "boxes": [[0, 0, 5, 5]]}),
        ("left < right", {"boxes": [[10, 10, 5, 20]]}),
        (r"box corner \(-1, 10\)", {"boxes": [[-1, 10, 5, 20]]}),
        (r"box corner \(5, nan\)", {"boxes": [[1, 10, 5, float("nan")]]}),
        (r"boxes are \[n, 4\].*shape \[1, 3\]", {"boxes": [[1, 2, 3]]}),
        (r"boxes are \[n, 4\].*shape \[4\]", {"boxes": [1, 2, 3, 4]}),
        (r"mask prompts are \[n, 64, 64\].*shape \[1, 5, 7\]", {"masks": np.zeros((1, 5, 7))}),
        ("mask prompts are.*hold NaN", {"masks": np.full((1, 64, 64), np.nan)}),
    ],
)
def test_prompts_that_make_no_sense_are_refused(tiny, embedded, message, prompts):
    with pytest.raises(InputError, match=message):
        tiny[0].predict(embedded, **prompts)


@pytest.fixture(scope="module")
def embedded(tiny):
    return tiny[0].embed(image_of(40, 60))


def test_a_box_may_be_the_whole_image_and_a_point_its_last_pixel(tiny, embedded):
    answer = tiny[0].predict(embedded, points=[[59.9, 39.9]], boxes=[[0, 0, 60, 40]])
    assert np.isfinite(answer.low_resolution).all()


@pytest.mark.parametrize(
    ("message", "image"),
    [
        ("uint8", np.zeros((40, 60, 3), np.float32)),
        (r"shape \(40, 60\)", np.zeros((40, 60), np.uint8)),
        (r"shape \(0, 60, 3\)", np.zeros((0, 60, 3), np.uint8)),
        ("1 wide and 5000 high.*cut it into pieces", np.zeros((5000, 1, 3), np.uint8)),
    ],
)
def test_images_that_make_no_sense_are_refused(tiny, message, image):
    with pytest.raises(InputError, match=message):
        tiny[0].embed(image)


def test_an_embedded_image_gives_the_masks_of_the_image(tiny, embedded):
    at_once = tiny[0].predict(image_of(40, 60), points=[[5, 6]])
    answer = tiny[0].predict(embedded, points=[[5, 6]])
    np.testing.assert_array_equal(answer.low_resolution, at_once.low_resolution)


def test_prompts_in_batches_are_those_one_by_one(tiny, embedded):
    """Seven prompts in batches of three: the padding of the last batch is cut off."""
    points = np.stack([np.linspace(1, 58, 7), np.linspace(38, 2, 7)], -1)
    together = tiny[0].predict(embedded, points=points, prompts_per_batch=3)
    assert together.masks.shape == (7, 3, 40, 60)
    for i, point in enumerate(points):
        alone = tiny[0].predict(embedded, points=point[None])
        close(together.low_resolution[i], torch.tensor(alone.low_resolution[0]), LOGITS_TOLERANCE)
        close(together.predicted_iou[i], torch.tensor(alone.predicted_iou[0]), LOGITS_TOLERANCE)


def test_other_images_and_numbers_of_prompts_trace_nothing(tiny, traces):
    sam = tiny[0]
    warm, points = image_of(37, 61), np.full((40, 2), 5)
    sam.predict(warm, points=points[:1])
    sam.predict(warm, points=points[:2])
    sam.segment_everything(warm, EverythingOptions(points_per_side=2, points_per_batch=3))
    assert traces, "the listener hears"
    traces.clear()
    for count in (1, 2, 5, 16, 17, 40):
        sam.predict(255 - warm, points=points[:count])
    sam.segment_everything(255 - warm, EverythingOptions(points_per_side=3, points_per_batch=3))
    assert traces == []


def test_another_size_of_image_traces_no_network(tiny, traces):
    sam = tiny[0]
    sam.predict(image_of(37, 61), points=[[5, 6]])
    traces.clear()
    sam.predict(image_of(38, 61), points=[[5, 6]])
    assert "_at_image_size" in traces
    assert not {"_embed", "_decode"} & set(traces)


def test_sam_is_loaded_from_the_folder_that_the_converter_writes(tiny, embedded, tmp_path):
    theirs = tiny[1]
    theirs.save_pretrained(tmp_path / "theirs")
    file = tmp_path / "theirs" / "model.safetensors"
    convert_sam.main(["--input", str(file), "--output", str(tmp_path / "ours")])
    loaded = sampath_jax.load_sam(tmp_path / "ours", encoder_dtype="float32")
    np.testing.assert_array_equal(loaded.embed(image_of(40, 60)).embedding, embedded.embedding)
    manifest = tmp_path / "ours" / "weights.json"
    manifest.write_text(manifest.read_text().replace('"sam"', '"hipt"'))
    with pytest.raises(InputError, match="holds no SAM"):
        sampath_jax.load_sam(tmp_path / "ours")


def test_the_encoder_computes_as_told(tmp_path, monkeypatch):
    """In bfloat16 the embedding differs by what that rounds, with another attention by the order of sums."""
    one_block = SamEncoderConfig(width=96, depth=1, heads=4, global_blocks=(0,), grid=(8, 8))
    monkeypatch.setattr(SamEncoderConfig, "tiny", classmethod(lambda cls: one_block))
    folder, image = write_sam(tmp_path / "sam"), image_of(40, 60)
    exact = np.asarray(sampath_jax.load_sam(folder).embed(image).embedding)
    rounded = sampath_jax.load_sam(folder, encoder_dtype="bfloat16").embed(image).embedding
    assert 1e-4 < np.abs(rounded - exact).max() / np.abs(exact).max() < 0.1
    blockwise = sampath_jax.load_sam(folder, attention="blockwise").embed(image).embedding
    reference = sampath_jax.load_sam(folder, attention="reference").embed(image).embedding
    assert not np.array_equal(blockwise, reference)
    close(blockwise, torch.tensor(np.asarray(reference)), EMBEDDING_TOLERANCE)
