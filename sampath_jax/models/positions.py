"""Position tables of the two encoders, for the grid at hand.

Source   segment_anything/modeling/image_encoder.py (`get_rel_pos`); DINO's `interpolate_pos_encoding`;
         detectron2's ViTDet, from which SAM's encoder comes, for SAM's own table on other grids.
Differs  SAM refuses inputs other than 1024 x 1024; here its table is interpolated (bicubic, as ViTDet does).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sampath_jax.models.resize import resize_bicubic


def sam_positions(table: Float[Array, "1 H W C"], grid: tuple[int, int]) -> Float[Array, "1 h w C"]:
    """SAM's absolute positions for `grid` = (rows, columns): the table itself, or interpolated."""
    if table.shape[1:3] == grid:
        return table
    return resize_bicubic(table[0], grid)[None]


def hipt_positions(
    table: Float[Array, "1 n C"], grid: tuple[int, int], pretrained: int
) -> Float[Array, "1 m C"]:
    """HIPT's positions for the class token and a row-major `grid`.

    Args:
        table: class token, then `pretrained` x `pretrained` patches.
        grid: (rows, columns) of patches.
        pretrained: patches per side in pretraining.

    DINO passes the scale (side + 0.1) / pretrained to torch, which uses it for the source coordinates: the
    result differs from a plain resize, by up to 0.12 on unit-normal tables. The class token is not touched.
    """
    if grid == (pretrained, pretrained):
        return table
    square = table[0, 1:].reshape(pretrained, pretrained, -1)
    scale = ((grid[0] + 0.1) / pretrained, (grid[1] + 0.1) / pretrained)
    patches = resize_bicubic(square, grid, scale).reshape(1, grid[0] * grid[1], -1)
    return jnp.concatenate([table[:, :1], patches], axis=1)


def relative_positions(table: Float[Array, "L d"], side: int) -> Float[Array, "r d"]:
    """The learned vector of each difference of two rows (or columns) of a grid, from -(side - 1) to side - 1.

    A table of another length is interpolated linearly, as SAM does.
    """
    length = 2 * side - 1
    if len(table) == length:
        return table
    return jax.image.resize(table, (length, table.shape[1]), method="linear", antialias=False)
