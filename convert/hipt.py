"""HIPT's patch-level vision transformer (ViT-S/16, trained with DINO) into ours.

    python -m convert.hipt --input vit256_small_dino.pth --output weights/hipt_vit_s

Reads the published DINO checkpoint (of student, teacher and heads, the teacher's backbone is meant) and a
bare state dict of the backbone.
"""

import functools
from collections.abc import Sequence

from convert import command
from convert.source import STATE_KEYS, Source, guess, open_source, state_dict
from convert.table import Converted, Row, Shapes, Table, conv, convert, dense
from sampath_jax import cli
from sampath_jax.errors import InputError
from sampath_jax.models.abstract import abstract, shapes_of
from sampath_jax.models.config import HiptConfig
from sampath_jax.models.hipt_encoder import HiptEncoder

#: The sizes of the pathology encoder, as a config names them.
SIZES = {name: getattr(HiptConfig, name)() for name in ("vit_s", "tiny")}

ROWS = (
    Row(r"(cls_token|pos_embed)", r"hipt_encoder.\1"),
    Row(r"patch_embed\.proj\.weight", "hipt_encoder.patch_embed.kernel", conv),
    Row(r"patch_embed\.proj\.bias", "hipt_encoder.patch_embed.bias"),
    Row(r"blocks\.(\d+)\.(norm\d)\.weight", r"hipt_encoder.blocks.\1.\2.scale"),
    Row(r"blocks\.(\d+)\.(norm\d)\.bias", r"hipt_encoder.blocks.\1.\2.bias"),
    Row(r"blocks\.(\d+)\.attn\.(qkv|proj)\.weight", r"hipt_encoder.blocks.\1.attn.\2.kernel", dense),
    Row(r"blocks\.(\d+)\.attn\.(qkv|proj)\.bias", r"hipt_encoder.blocks.\1.attn.\2.bias"),
    Row(r"blocks\.(\d+)\.mlp\.(fc\d)\.weight", r"hipt_encoder.blocks.\1.mlp.\2.kernel", dense),
    Row(r"blocks\.(\d+)\.mlp\.(fc\d)\.bias", r"hipt_encoder.blocks.\1.mlp.\2.bias"),
    Row(r"norm\.weight", "hipt_encoder.norm.scale"),
    Row(r"norm\.bias", "hipt_encoder.norm.bias"),
)

TABLE = Table(ROWS, unused={r"head\..*": "DINO's projection head, needed only for its training"})


@functools.cache
def hipt_shapes(config: HiptConfig) -> Shapes:
    """All parameters of a converted pathology encoder."""
    shapes = shapes_of(abstract(lambda rngs: HiptEncoder(config, rngs=rngs)))
    return {f"hipt_encoder/{path}": shape for path, shape in shapes.items()}


def convert_hipt(source: Source) -> tuple[Converted, str]:
    """The parameters in a DINO checkpoint or a bare state dict, and the size.

    Raises:
        InputError: another model, another size, or an incomplete file.
    """
    named = state_dict(source, ("teacher", *STATE_KEYS))
    tensors = {_bare(name): tensor for name, tensor in named.items()}
    position = tensors.get("pos_embed")
    if position is None or "cls_token" not in tensors:
        raise InputError(
            f"{source.path} is not a file of HIPT: it has no vision transformer with a class token. "
            f"{guess(named)}"
        )
    size = next((name for name, config in SIZES.items() if config.width == position.shape[-1]), None)
    if size is None:
        raise InputError(
            f"{source.path} holds another vision transformer than HIPT's ViT-S/16 of width 384: its position "
            f"embedding is {list(position.shape)}. The file of HIPT is vit256_small_dino.pth"
        )
    what = f"{source.path} is not a whole HIPT {size}"
    return convert(tensors, TABLE, hipt_shapes(SIZES[size]), what), size


def _bare(name: str) -> str:
    """The name without what data-parallel training and DINO's wrapper add."""
    return name.replace("module.", "").replace("backbone.", "")


def main(arguments: Sequence[str]) -> None:
    """Converts a file, writes the folder, and prints a summary."""
    options = command.parser("convert.hipt", __doc__).parse_args(arguments)
    source = open_source(options.input)
    converted, size = convert_hipt(source)
    command.write(options, converted, source, model="hipt", size=size)


if __name__ == "__main__":
    cli.run(main)
