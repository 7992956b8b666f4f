"""Promptable SAM against transformers' SAM: same weights, same prompts, same masks."""

import numpy as np
import pytest
import torch
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

import sampath_jax
from convert import sam as convert_sam
from sampath_jax.errors import InputError
from sampath_jax.models.config import SamEncoderConfig
from sampath_jax.prompting import predictor
from sampath_jax.prompting.predictor import PromptableSam
from tests.prompting.hugging_face_sam import ours_and_theirs

#: Of the largest absolute value, as for the encoders and the logits of SAM-Path.
EMBEDDING_TOLERANCE, LOGITS_TOLERANCE = 1e-5, 1e-4


@pytest.fixture(scope="module")
def tiny():
    ours, theirs = ours_and_theirs(SamEncoderConfig.tiny())
    return PromptableSam(ours), theirs


def test_every_prompt_and_mode_at_tiny_size(tiny):
    compare(*tiny, image_of(90, 140))


@pytest.mark.full
def test_every_prompt_and_mode_at_full_size():
    ours, theirs = ours_and_theirs(SamEncoderConfig.vit_b())
    compare(PromptableSam(ours), theirs, image_of(700, 900))


def image_of(height, width):
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def compare(ours, theirs, image):
    """Embedding; points, boxes, both, masks; single and multiple masks; the masks at image size."""
    height, width = image.shape[:2]
    side = ours.side
    processor = SamImageProcessorPil(size={"longest_edge": side}, pad_size={"height": side, "width": side})
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
    mask = generator.normal(size=(1, side // 4, side // 4)).astype(np.float32)
    cases = (
        {"points": points, "labels": labels},
        {"boxes": boxes},
        {"points": points, "labels": labels, "boxes": boxes},
        {"points": points[:1], "labels": labels[:1], "masks": mask},
    )
    for prompts in cases:
        for multimask in (False, True):
            expected = ask(theirs, embedding, embedded.frame, prompts, multimask)
            full = processor.post_process_masks(
                expected.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"], binarize=False
            )[0]
            answer = ours.predict(embedded, **prompts, multimask=multimask)
            close(answer.low_resolution, expected.pred_masks[0], LOGITS_TOLERANCE)
            close(answer.predicted_iou, expected.iou_scores[0], LOGITS_TOLERANCE)
            same_masks(answer.masks, full.numpy())


def ask(theirs, embedding, frame, prompts, multimask):
    given = {}
    if "points" in prompts:
        given["input_points"] = torch.tensor(frame.to_input(prompts["points"]))[None]
        given["input_labels"] = torch.tensor(prompts["labels"])[None]
    if "boxes" in prompts:
        corners = frame.to_input(prompts["boxes"].reshape(-1, 2, 2))
        given["input_boxes"] = torch.tensor(corners.reshape(1, -1, 4))
    if "masks" in prompts:
        given["input_masks"] = torch.tensor(prompts["masks"])[None]
    with torch.no_grad():
        return theirs(image_embeddings=embedding, multimask_output=multimask, **given)


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


def test_prompts_that_make_no_sense_are_refused(tiny):
    sam, image = tiny[0], image_of(40, 60)
    refused = {
        r"point \(61, 5\) lies outside the image, which is 60 wide and 40 high": {"points": [[61, 5]]},
        "at least one point, box or mask": {},
        "the same number": {"points": np.zeros((0, 2))},
        "left < right": {"boxes": [[10, 10, 5, 20]]},
        "box corner": {"boxes": [[-1, 10, 5, 20]]},
        "labels are 1": {"points": [[1, 1]], "labels": [2]},
        "labels were given without points": {"labels": [1], "boxes": [[0, 0, 5, 5]]},
        "a mask prompt": {"masks": np.zeros((1, 5, 7))},
    }
    for message, prompts in refused.items():
        with pytest.raises(InputError, match=message):
            sam.predict(image, **prompts)
    with pytest.raises(InputError, match="uint8"):
        sam.predict(image.astype(np.float32), points=[[1, 1]])


def test_an_embedded_image_gives_the_masks_of_the_image(tiny):
    sam, image = tiny[0], image_of(40, 60)
    at_once = sam.predict(image, points=[[5, 6]])
    embedded = sam.predict(sam.embed(image), points=[[5, 6]])
    np.testing.assert_array_equal(embedded.low_resolution, at_once.low_resolution)


def test_prompts_of_one_kind_compile_once(tiny):
    sam, image = tiny[0], image_of(40, 60)
    sam.predict(image, points=[[1, 1]])
    compiled = predictor._decode._cache_size()
    sam.predict(image, points=[[30, 20]])
    assert predictor._decode._cache_size() == compiled


def test_sam_is_loaded_from_the_folder_that_the_converter_writes(tmp_path):
    sam, theirs = ours_and_theirs(SamEncoderConfig.tiny())
    theirs.save_pretrained(tmp_path / "theirs")
    file = tmp_path / "theirs" / "model.safetensors"
    convert_sam.main(["--input", str(file), "--output", str(tmp_path / "ours")])
    loaded = sampath_jax.load_sam(tmp_path / "ours")
    np.testing.assert_array_equal(loaded.state["neck"]["conv1"]["kernel"], sam.neck.conv1.kernel[...])
    manifest = tmp_path / "ours" / "weights.json"
    manifest.write_text(manifest.read_text().replace('"sam"', '"hipt"'))
    with pytest.raises(InputError, match="holds no SAM"):
        sampath_jax.load_sam(tmp_path / "ours")
