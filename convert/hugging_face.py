"""Hugging Face's names of SAM (``SamModel``, e.g. facebook/sam-vit-base); read by `convert.sam`."""

from collections.abc import Mapping

import numpy as np

from convert.table import Row, Table, conv, deconv, dense, row

#: The frequencies of the position code, and the copy of them that older versions of transformers also saved.
POSITIONS = "shared_image_embedding.positional_embedding"
POSITIONS_COPY = "prompt_encoder.shared_embedding.positional_embedding"

ENCODER = (
    Row(r"vision_encoder\.pos_embed", "sam_encoder.pos_embed"),
    Row(r"vision_encoder\.patch_embed\.projection\.weight", "sam_encoder.patch_embed.kernel", conv),
    Row(r"vision_encoder\.patch_embed\.projection\.bias", "sam_encoder.patch_embed.bias"),
    Row(r"vision_encoder\.layers\.(\d+)\.layer_norm(\d)\.weight", r"sam_encoder.blocks.\1.norm\2.scale"),
    Row(r"vision_encoder\.layers\.(\d+)\.layer_norm(\d)\.bias", r"sam_encoder.blocks.\1.norm\2.bias"),
    Row(r"vision_encoder\.layers\.(\d+)\.attn\.(rel_pos_[hw])", r"sam_encoder.blocks.\1.attn.\2"),
    Row(
        r"vision_encoder\.layers\.(\d+)\.(attn\.qkv|attn\.proj|mlp\.lin\d)\.weight",
        r"sam_encoder.blocks.\1.\2.kernel",
        dense,
    ),
    Row(
        r"vision_encoder\.layers\.(\d+)\.(attn\.qkv|attn\.proj|mlp\.lin\d)\.bias",
        r"sam_encoder.blocks.\1.\2.bias",
    ),
    Row(r"vision_encoder\.neck\.(conv\d)\.weight", r"neck.\1.kernel", conv),
    Row(r"vision_encoder\.neck\.layer_norm(\d)\.weight", r"neck.norm\1.scale"),
    Row(r"vision_encoder\.neck\.layer_norm(\d)\.bias", r"neck.norm\1.bias"),
)

PROMPTS = (
    Row(r"shared_image_embedding\.positional_embedding", "prompt_encoder.positional_encoding"),
    Row(r"prompt_encoder\.no_mask_embed\.weight", "prompt_encoder.no_mask_embed", row),
    Row(r"prompt_encoder\.point_embed\.(\d)\.weight", r"prompt_encoder.point_embeddings[\1]", row),
    Row(r"prompt_encoder\.not_a_point_embed\.weight", "prompt_encoder.not_a_point_embed", row),
    Row(r"prompt_encoder\.mask_embed\.(conv\d)\.weight", r"prompt_encoder.mask_downscaling.\1.kernel", conv),
    Row(r"prompt_encoder\.mask_embed\.(conv\d)\.bias", r"prompt_encoder.mask_downscaling.\1.bias"),
    Row(
        r"prompt_encoder\.mask_embed\.layer_norm(\d)\.weight",
        r"prompt_encoder.mask_downscaling.norm\1.scale",
    ),
    Row(
        r"prompt_encoder\.mask_embed\.layer_norm(\d)\.bias",
        r"prompt_encoder.mask_downscaling.norm\1.bias",
    ),
)

#: Three dense layers are called proj_in, layers.0 and proj_out.
THREE_LAYERS = (("proj_in", 0), (r"layers\.0", 1), ("proj_out", 2))

DECODER = (
    Row(r"mask_decoder\.(iou_token|mask_tokens)\.weight", r"mask_decoder.\1"),
    Row(
        r"mask_decoder\.transformer\.(.+_proj|.+lin\d)\.weight",
        r"mask_decoder.transformer.\1.kernel",
        dense,
    ),
    Row(r"mask_decoder\.transformer\.(.+_proj|.+lin\d)\.bias", r"mask_decoder.transformer.\1.bias"),
    Row(
        r"mask_decoder\.transformer\.layers\.(\d)\.layer_norm(\d)\.weight",
        r"mask_decoder.transformer.layers.\1.norm\2.scale",
    ),
    Row(
        r"mask_decoder\.transformer\.layers\.(\d)\.layer_norm(\d)\.bias",
        r"mask_decoder.transformer.layers.\1.norm\2.bias",
    ),
    Row(
        r"mask_decoder\.transformer\.layer_norm_final_attn\.weight",
        "mask_decoder.transformer.norm_final_attn.scale",
    ),
    Row(
        r"mask_decoder\.transformer\.layer_norm_final_attn\.bias",
        "mask_decoder.transformer.norm_final_attn.bias",
    ),
    Row(r"mask_decoder\.upscale_(conv\d)\.weight", r"mask_decoder.output_upscaling_\1.kernel", deconv),
    Row(r"mask_decoder\.upscale_(conv\d)\.bias", r"mask_decoder.output_upscaling_\1.bias"),
    Row(r"mask_decoder\.upscale_layer_norm\.weight", "mask_decoder.output_upscaling_norm.scale"),
    Row(r"mask_decoder\.upscale_layer_norm\.bias", "mask_decoder.output_upscaling_norm.bias"),
    *(
        row_of_layer
        for theirs, ours in THREE_LAYERS
        for row_of_layer in (
            Row(
                rf"mask_decoder\.output_hypernetworks_mlps\.(\d)\.{theirs}\.weight",
                rf"mask_decoder.output_hypernetworks_mlps.layers.{ours}.kernel[\1]",
                dense,
            ),
            Row(
                rf"mask_decoder\.output_hypernetworks_mlps\.(\d)\.{theirs}\.bias",
                rf"mask_decoder.output_hypernetworks_mlps.layers.{ours}.bias[\1]",
            ),
            Row(
                rf"mask_decoder\.iou_prediction_head\.{theirs}\.weight",
                f"mask_decoder.iou_prediction_head.layers.{ours}.kernel",
                dense,
            ),
            Row(
                rf"mask_decoder\.iou_prediction_head\.{theirs}\.bias",
                f"mask_decoder.iou_prediction_head.layers.{ours}.bias",
            ),
        )
    ),
)

TABLE = Table(
    (*ENCODER, *PROMPTS, *DECODER),
    unused={r"prompt_encoder\.shared_embedding\.positional_embedding": "copy of shared_image_embedding"},
)


def one_copy(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same tensors, with the position code under its first name, whichever of the two the file has."""
    renamed = dict(tensors)
    if POSITIONS not in renamed and POSITIONS_COPY in renamed:
        renamed[POSITIONS] = renamed.pop(POSITIONS_COPY)
    return renamed
