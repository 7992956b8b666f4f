"""SAM-Path in PyTorch, to compare with: as the original runs it, and as well as we can write it.

`SamPath(config, best=False)` materialises every attention matrix and decodes image by image; `best=True` uses
`scaled_dot_product_attention` and decodes the batch at once. Parameters are named as in `sampath_jax.models`,
so that the same weights can be loaded into both and the outputs compared.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sampath_jax.benchmarking.torch_attention import materialised, position_tables, sdpa
from sampath_jax.benchmarking.torch_decoder import MaskDecoder, Norm2d

if TYPE_CHECKING:  # these import JAX, whose memory must not count against PyTorch
    from sampath_jax.models.config import HiptConfig, SamEncoderConfig, SamPathConfig

#: Width of the neck's output and of the decoder.
WIDTH = 256
EPS = 1e-6
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SelfAttention(nn.Module):
    """Multi-head self-attention over a grid (with relative positions) or a sequence."""

    def __init__(self, width: int, heads: int, side: int | None, best: bool):
        super().__init__()
        self.heads = heads
        self.attend = sdpa if best else materialised
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        if side is not None:
            self.rel_pos_h = nn.Parameter(0.02 * torch.randn(2 * side - 1, width // heads))
            self.rel_pos_w = nn.Parameter(0.02 * torch.randn(2 * side - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        """Takes [B, h, w, C] with positions, [B, n, C] without."""
        grid = x.shape[1:-1]
        qkv = self.qkv(x).reshape(len(x), grid.numel(), 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        tables = position_tables(self.rel_pos_h, self.rel_pos_w, grid) if len(grid) == 2 else None
        mixed = self.attend(q, k, v, tables).transpose(1, 2)
        return self.proj(mixed.reshape(x.shape))


class Mlp(nn.Module):
    """Two layers with GELU; `names` as the source calls them."""

    def __init__(self, width: int, names: tuple[str, str]):
        super().__init__()
        self.names = names
        self.add_module(names[0], nn.Linear(width, 4 * width))
        self.add_module(names[1], nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Applies the same network to every token."""
        first, second = (getattr(self, name) for name in self.names)
        return second(F.gelu(first(x)))


class Block(nn.Module):
    """Pre-norm transformer block; `window` > 0 attends inside windows of that side."""

    def __init__(
        self,
        width: int,
        heads: int,
        side: int | None,
        best: bool,
        *,
        window: int = 0,
        names: tuple[str, str],
    ):
        super().__init__()
        self.window = window
        self.norm1, self.norm2 = nn.LayerNorm(width, EPS), nn.LayerNorm(width, EPS)
        self.attn = SelfAttention(width, heads, side, best)
        self.mlp = Mlp(width, names)

    def forward(self, x: Tensor) -> Tensor:
        """Adds attention, then the MLP."""
        y = self.norm1(x)
        x = x + (self._windowed(y) if self.window else self.attn(y))
        return x + self.mlp(self.norm2(x))

    def _windowed(self, x: Tensor) -> Tensor:
        (batch, h, w, width), s = x.shape, self.window
        x = F.pad(x, (0, 0, 0, -w % s, 0, -h % s))
        rows, columns = x.shape[1] // s, x.shape[2] // s
        x = x.reshape(batch, rows, s, columns, s, width).transpose(2, 3).reshape(-1, s, s, width)
        x = self.attn(x).reshape(batch, rows, columns, s, s, width).transpose(2, 3)
        return x.reshape(batch, rows * s, columns * s, width)[:, :h, :w]


class SamEncoder(nn.Module):
    """SAM's image encoder before the neck, at its pretraining size."""

    def __init__(self, config: "SamEncoderConfig", best: bool):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, config.width, config.patch, config.patch)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, *config.grid, config.width))
        self.blocks = nn.ModuleList()
        for i in range(config.depth):
            window = 0 if i in config.global_blocks else config.window
            side = window or config.grid[0]
            self.blocks.append(
                Block(config.width, config.heads, side, best, window=window, names=("lin1", "lin2"))
            )

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, h, w, C]."""
        x = self.patch_embed(images).permute(0, 2, 3, 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x


class HiptEncoder(nn.Module):
    """HIPT's ViT over the whole image as one sequence."""

    def __init__(self, config: "HiptConfig", best: bool):
        super().__init__()
        self.side = config.grid
        self.patch_embed = nn.Conv2d(3, config.width, config.patch, config.patch)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, config.width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + config.grid**2, config.width))
        self.blocks = nn.ModuleList(
            [Block(config.width, config.heads, None, best, names=("fc1", "fc2")) for _ in range(config.depth)]
        )
        self.norm = nn.LayerNorm(config.width, EPS)

    def forward(self, images: Tensor) -> Tensor:
        """ImageNet-normalised [B, 3, H, W] to [B, h, w, C]."""
        mean, std = (_channels(x, images).to(images.dtype) for x in (IMAGENET_MEAN, IMAGENET_STD))
        grid = self.patch_embed((images * std + mean - 0.5) / 0.5).permute(0, 2, 3, 1)
        shape = grid.shape
        x = torch.cat([self.cls_token.expand(len(grid), -1, -1), grid.flatten(1, 2)], 1)
        x = x + self._positions(shape[1], shape[2])
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 1:].reshape(shape)

    def _positions(self, h: int, w: int) -> Tensor:
        """DINO's bicubic interpolation of the table."""
        if (h, w) == (self.side, self.side):
            return self.pos_embed
        square = self.pos_embed[:, 1:].unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
        scale = ((h + 0.1) / self.side, (w + 0.1) / self.side)
        patches = F.interpolate(square, scale_factor=scale, mode="bicubic").flatten(2).transpose(1, 2)
        return torch.cat([self.pos_embed[:, :1], patches], 1)


class PromptEncoder(nn.Module):
    """The two constants of SAM's prompt encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.no_mask_embed = nn.Parameter(torch.randn(WIDTH))
        self.positional_encoding = nn.Parameter(torch.randn(2, WIDTH // 2))

    def dense_positions(self, h: int, w: int) -> Tensor:
        """[h w, C] codes of patch centres."""
        like = self.positional_encoding
        y, x = ((torch.arange(n).to(like) + 0.5) / n for n in (h, w))
        points = torch.stack([x.expand(h, w), y[:, None].expand(h, w)], -1).reshape(-1, 2)
        angle = 2 * math.pi * ((2 * points - 1) @ like)
        return torch.cat([angle.sin(), angle.cos()], -1)


class Neck(nn.Module):
    """Reduces the features to the decoder's width."""

    def __init__(self, features: int):
        super().__init__()
        self.conv1 = nn.Conv2d(features, WIDTH, 1, bias=False)
        self.norm1 = Norm2d(WIDTH)
        self.conv2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
        self.norm2 = Norm2d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """[B, F, h, w] to [B, C, h, w]."""
        return self.norm2(self.conv2(self.norm1(self.conv1(x))))


class SamPath(nn.Module):
    """The whole model; see the module's docstring for `best`."""

    def __init__(self, config: "SamPathConfig", *, best: bool):
        super().__init__()
        self.config, self.best = config, best
        if "sam" in config.encoders:
            self.sam_encoder = SamEncoder(config.sam, best)
        if "hipt" in config.encoders:
            self.hipt_encoder = HiptEncoder(config.hipt, best)
        self.prompt_encoder = PromptEncoder()
        #: Channels of the features, and patches per side.
        self.feature_width = sum(getattr(config, name).width for name in config.encoders)
        self.grid = tuple(side // config.sam.patch for side in config.input_size)
        self.neck = Neck(self.feature_width)
        self.mask_decoder = MaskDecoder(config.num_classes + 2, WIDTH, best)

    def encode(self, images: Tensor) -> Tensor:
        """uint8 [B, H, W, 3] to features [B, F, h, w], without gradient."""
        with torch.no_grad():
            mean, std = (255 * _channels(x, images) for x in (IMAGENET_MEAN, IMAGENET_STD))
            pixels = (images.permute(0, 3, 1, 2).float() - mean) / std
            if tuple(pixels.shape[2:]) != tuple(self.config.input_size):
                pixels = F.interpolate(
                    pixels, tuple(self.config.input_size), mode="bilinear", align_corners=False
                )
            pixels = pixels.to(next(self.parameters()).dtype)
            encoders = [getattr(self, f"{name}_encoder") for name in self.config.encoders]
            return torch.cat([encoder(pixels) for encoder in encoders], -1).permute(0, 3, 1, 2)

    def decode(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, k+1, 4h, 4w] and IoUs [B, k+1]."""
        grid = self.neck(features) + self.prompt_encoder.no_mask_embed[:, None, None]
        positions = self.prompt_encoder.dense_positions(*grid.shape[2:])
        parts = [grid] if self.best else grid.split(1)
        masks, iou = zip(*(self.mask_decoder(part, positions) for part in parts), strict=True)
        return torch.cat(masks)[:, 1:], torch.cat(iou)[:, 1:]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`decode(encode(images))`."""
        return self.decode(self.encode(images))

    def trainable(self) -> list[nn.Parameter]:
        """Parameters of neck and mask decoder."""
        return [*self.neck.parameters(), *self.mask_decoder.parameters()]


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device)[:, None, None]


def load(model: nn.Module, weights: dict[str, Any]) -> None:
    """Fills `model` with the flat weights ("a/b/kernel") of our model; every parameter must be there."""
    filled = {}
    for path, value in weights.items():
        name, _, leaf = path.replace("/", ".").rpartition(".")
        array = torch.as_tensor(np.array(value))
        if leaf == "kernel" and "upscaling" in name:
            array = array.permute(2, 3, 0, 1)  # (2, 2, in, out) -> (in, out, 2, 2)
        elif leaf == "kernel" and array.ndim == 4:
            array = array.permute(3, 2, 0, 1)  # (h, w, in, out) -> (out, in, h, w)
        elif leaf == "kernel" and "hypernetworks" not in name:
            array = array.T
        leaf = {"kernel": "weight", "scale": "weight"}.get(leaf, leaf)
        filled[f"{name}.{leaf}" if name else leaf] = array
    model.load_state_dict(filled)
