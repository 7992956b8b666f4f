"""Attention with decomposed relative positions in PyTorch, two ways."""

import torch
import torch.nn.functional as F
from torch import Tensor

Tables = tuple[Tensor, Tensor] | None


def position_tables(rel_pos_h: Tensor, rel_pos_w: Tensor, grid: torch.Size) -> tuple[Tensor, Tensor]:
    """[h, h, d] and [w, w, d]: the vector of each pair of query and key row, or column."""

    def look_up(table: Tensor, side: int) -> Tensor:
        if len(table) != 2 * side - 1:
            table = F.interpolate(table.T[None], 2 * side - 1, mode="linear")[0].T
        at = torch.arange(side, device=table.device)
        return table[at[:, None] - at[None] + side - 1]

    return look_up(rel_pos_h, grid[0]), look_up(rel_pos_w, grid[1])


def position_terms(q: Tensor, tables: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """[B, heads, N, h, 1] and [B, heads, N, 1, w]: the bias of each key row and of each key column."""
    rel_h, rel_w = tables
    grid = q.unflatten(2, (len(rel_h), len(rel_w)))
    rows = torch.einsum("bnyxd,yjd->bnyxj", grid, rel_h).flatten(2, 3)
    columns = torch.einsum("bnyxd,xjd->bnyxj", grid, rel_w).flatten(2, 3)
    return rows[..., :, None], columns[..., None, :]


def materialised(q: Tensor, k: Tensor, v: Tensor, tables: Tables) -> Tensor:
    """As the original: the whole matrix, its bias and its softmax, one after the other; [B, heads, N, d]."""
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if tables is not None:
        rows, columns = position_terms(q, tables)
        sides = (rows.shape[-2], columns.shape[-1])
        logits = (logits.unflatten(-1, sides) + rows + columns).flatten(-2)
    return logits.softmax(-1) @ v


def sdpa(q: Tensor, k: Tensor, v: Tensor, tables: Tables) -> Tensor:
    """PyTorch's fused attention; the positions are an additive mask."""
    mask = None
    if tables is not None:
        rows, columns = position_terms(q, tables)
        mask = (rows + columns).flatten(-2)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
