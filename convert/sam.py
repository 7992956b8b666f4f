"""SAM's published weights into ours.

    python -m convert.sam --input sam_vit_b_01ec64.pth --output weights/sam_vit_b

Reads Meta's ``sam_vit_{b,l,h}*.pth``, every checkpoint with the same names (MedSAM, micro-sam, patho-sam),
and Hugging Face's ``SamModel`` (safetensors or ``pytorch_model.bin``, names in `convert.hugging_face`). All
of SAM is converted, also what only its own prompts need.
"""

import functools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from convert import command, hugging_face
from convert.source import Source, guess, open_source, state_dict
from convert.table import Converted, Row, Shapes, Table, conv, convert, deconv, dense, row
from sampath_jax import cli
from sampath_jax.errors import InputError
from sampath_jax.models.abstract import abstract, shapes_of
from sampath_jax.models.config import SamEncoderConfig
from sampath_jax.models.sam import Sam

#: The sizes of SAM, as a config names them.
SIZES = {name: getattr(SamEncoderConfig, name)() for name in ("vit_b", "vit_l", "vit_h", "tiny")}
#: What wrappers put before the names.
PREFIXES = ("module.", "sam.", "model.")


def neck_rows(torch: str) -> tuple[Row, ...]:
    """The rows of a neck: SAM's own, and those of SAM-Path."""
    return (
        Row(rf"{torch}\.0\.weight", "neck.conv1.kernel", conv),
        Row(rf"{torch}\.1\.weight", "neck.norm1.scale"),
        Row(rf"{torch}\.1\.bias", "neck.norm1.bias"),
        Row(rf"{torch}\.2\.weight", "neck.conv2.kernel", conv),
        Row(rf"{torch}\.3\.weight", "neck.norm2.scale"),
        Row(rf"{torch}\.3\.bias", "neck.norm2.bias"),
    )


ENCODER = (
    Row(r"image_encoder\.pos_embed", "sam_encoder.pos_embed"),
    Row(r"image_encoder\.patch_embed\.proj\.weight", "sam_encoder.patch_embed.kernel", conv),
    Row(r"image_encoder\.patch_embed\.proj\.bias", "sam_encoder.patch_embed.bias"),
    Row(r"image_encoder\.blocks\.(\d+)\.(norm\d)\.weight", r"sam_encoder.blocks.\1.\2.scale"),
    Row(r"image_encoder\.blocks\.(\d+)\.(norm\d)\.bias", r"sam_encoder.blocks.\1.\2.bias"),
    Row(r"image_encoder\.blocks\.(\d+)\.attn\.(rel_pos_[hw])", r"sam_encoder.blocks.\1.attn.\2"),
    Row(
        r"image_encoder\.blocks\.(\d+)\.(attn\.qkv|attn\.proj|mlp\.lin\d)\.weight",
        r"sam_encoder.blocks.\1.\2.kernel",
        dense,
    ),
    Row(
        r"image_encoder\.blocks\.(\d+)\.(attn\.qkv|attn\.proj|mlp\.lin\d)\.bias",
        r"sam_encoder.blocks.\1.\2.bias",
    ),
)

PROMPTS = (
    Row(r"prompt_encoder\.no_mask_embed\.weight", "prompt_encoder.no_mask_embed", row),
    Row(
        r"prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix",
        "prompt_encoder.positional_encoding",
    ),
    Row(r"prompt_encoder\.point_embeddings\.(\d)\.weight", r"prompt_encoder.point_embeddings[\1]", row),
    Row(r"prompt_encoder\.not_a_point_embed\.weight", "prompt_encoder.not_a_point_embed", row),
    Row(r"prompt_encoder\.mask_downscaling\.0\.weight", "prompt_encoder.mask_downscaling.conv1.kernel", conv),
    Row(r"prompt_encoder\.mask_downscaling\.0\.bias", "prompt_encoder.mask_downscaling.conv1.bias"),
    Row(r"prompt_encoder\.mask_downscaling\.1\.weight", "prompt_encoder.mask_downscaling.norm1.scale"),
    Row(r"prompt_encoder\.mask_downscaling\.1\.bias", "prompt_encoder.mask_downscaling.norm1.bias"),
    Row(r"prompt_encoder\.mask_downscaling\.3\.weight", "prompt_encoder.mask_downscaling.conv2.kernel", conv),
    Row(r"prompt_encoder\.mask_downscaling\.3\.bias", "prompt_encoder.mask_downscaling.conv2.bias"),
    Row(r"prompt_encoder\.mask_downscaling\.4\.weight", "prompt_encoder.mask_downscaling.norm2.scale"),
    Row(r"prompt_encoder\.mask_downscaling\.4\.bias", "prompt_encoder.mask_downscaling.norm2.bias"),
    Row(r"prompt_encoder\.mask_downscaling\.6\.weight", "prompt_encoder.mask_downscaling.conv3.kernel", conv),
    Row(r"prompt_encoder\.mask_downscaling\.6\.bias", "prompt_encoder.mask_downscaling.conv3.bias"),
)

DECODER = (
    Row(r"mask_decoder\.(iou_token|mask_tokens)\.weight", r"mask_decoder.\1"),
    Row(
        r"mask_decoder\.transformer\.(.+_proj|.+lin\d)\.weight", r"mask_decoder.transformer.\1.kernel", dense
    ),
    Row(r"mask_decoder\.transformer\.(.+_proj|.+lin\d)\.bias", r"mask_decoder.transformer.\1.bias"),
    Row(
        r"mask_decoder\.transformer\.(.+norm\d|norm_final_attn)\.weight", r"mask_decoder.transformer.\1.scale"
    ),
    Row(r"mask_decoder\.transformer\.(.+norm\d|norm_final_attn)\.bias", r"mask_decoder.transformer.\1.bias"),
    Row(r"mask_decoder\.output_upscaling\.0\.weight", "mask_decoder.output_upscaling_conv1.kernel", deconv),
    Row(r"mask_decoder\.output_upscaling\.0\.bias", "mask_decoder.output_upscaling_conv1.bias"),
    Row(r"mask_decoder\.output_upscaling\.1\.weight", "mask_decoder.output_upscaling_norm.scale"),
    Row(r"mask_decoder\.output_upscaling\.1\.bias", "mask_decoder.output_upscaling_norm.bias"),
    Row(r"mask_decoder\.output_upscaling\.3\.weight", "mask_decoder.output_upscaling_conv2.kernel", deconv),
    Row(r"mask_decoder\.output_upscaling\.3\.bias", "mask_decoder.output_upscaling_conv2.bias"),
    Row(
        r"mask_decoder\.output_hypernetworks_mlps\.(\d+)\.layers\.(\d)\.weight",
        r"mask_decoder.output_hypernetworks_mlps.layers.\2.kernel[\1]",
        dense,
    ),
    Row(
        r"mask_decoder\.output_hypernetworks_mlps\.(\d+)\.layers\.(\d)\.bias",
        r"mask_decoder.output_hypernetworks_mlps.layers.\2.bias[\1]",
    ),
    Row(
        r"mask_decoder\.iou_prediction_head\.layers\.(\d)\.weight",
        r"mask_decoder.iou_prediction_head.layers.\1.kernel",
        dense,
    ),
    Row(
        r"mask_decoder\.iou_prediction_head\.layers\.(\d)\.bias",
        r"mask_decoder.iou_prediction_head.layers.\1.bias",
    ),
)

#: Every tensor of SAM is used, so there is nothing to leave out.
TABLE = Table((*ENCODER, *neck_rows(r"image_encoder\.neck"), *PROMPTS, *DECODER))


@functools.cache
def sam_shapes(config: SamEncoderConfig) -> Shapes:
    """All parameters of a converted SAM."""
    return shapes_of(abstract(lambda rngs: Sam(config, rngs=rngs)))


def convert_sam(source: Source, size: str | None = None) -> tuple[Converted, str]:
    """The parameters in a file of SAM, and its size.

    Args:
        source: the opened file.
        size: what the user expects it to be; by default what its name says, or what is in it.

    Raises:
        InputError: another model, another size, or an incomplete file.
    """
    named = state_dict(source)
    tensors = _strip(named)
    table = TABLE
    if "vision_encoder.pos_embed" in tensors:
        tensors, table = hugging_face.one_copy(tensors), hugging_face.TABLE
    position = tensors.get("image_encoder.pos_embed", tensors.get("vision_encoder.pos_embed"))
    if position is None or position.ndim != 4:
        raise InputError(f"{source.path} is not a file of SAM: it has no image encoder. {guess(named)}")
    found = next((name for name, config in SIZES.items() if config.width == position.shape[-1]), None)
    in_name = re.search(r"vit_[blh]", source.path.name)
    expected = size or (in_name[0] if in_name else found)
    if found is None or expected != found:
        holds = found or "a size that is not known here"
        raise InputError(
            f"{source.path} is given as SAM {expected or ''}, but holds {holds}: its position embedding is "
            f"{list(position.shape)}. Give another file" + (f", or --size {found}" if found else "")
        )
    what = f"{source.path} is not a whole SAM {found}"
    return convert(tensors, table, sam_shapes(SIZES[found]), what), found


def _strip(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without the prefixes that wrappers add to every name."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def main(arguments: Sequence[str]) -> None:
    """Converts a file, writes the folder, and prints a summary."""
    parser = command.parser("convert.sam", __doc__)
    parser.add_argument("--size", choices=SIZES, help="what the file should be; by default what it is")
    options = parser.parse_args(arguments)
    source = open_source(options.input)
    converted, size = convert_sam(source, options.size)
    command.write(options, converted, source, model="sam", size=size)


if __name__ == "__main__":
    cli.run(main)
