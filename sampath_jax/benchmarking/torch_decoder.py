"""SAM-Path's mask decoder in PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Norm2d(nn.Module):
    """Normalises the channels of each pixel of [B, C, h, w]."""

    def __init__(self, width: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Biased variance, epsilon inside the root."""
        centred = x - x.mean(1, keepdim=True)
        scaled = centred / torch.sqrt(centred.square().mean(1, keepdim=True) + 1e-6)
        return self.weight[:, None, None] * scaled + self.bias[:, None, None]


class CrossAttention(nn.Module):
    """Multi-head attention between two sequences."""

    def __init__(self, width: int, inner: int, best: bool, heads: int = 8):
        super().__init__()
        self.heads, self.best = heads, best
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[B, n, C] each."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        if self.best:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class TokenMlp(nn.Module):
    """Two layers with ReLU."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, C]."""
        return self.lin2(self.lin1(x).relu())


class TwoWayLayer(nn.Module):
    """Tokens to tokens, tokens to image, MLP, image to tokens; post-norm."""

    def __init__(self, width: int, best: bool, is_first: bool):
        super().__init__()
        self.is_first = is_first
        self.self_attn = CrossAttention(width, width, best)
        self.cross_attn_token_to_image = CrossAttention(width, width // 2, best)
        self.cross_attn_image_to_token = CrossAttention(width, width // 2, best)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))
        self.mlp = TokenMlp(width, 2048)

    def forward(self, tokens: Tensor, patches: Tensor, start: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """`start` and `codes` are the positions of tokens and patches."""
        if self.is_first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            tokens = tokens + self.self_attn(tokens + start, tokens + start, tokens)
        tokens = self.norm1(tokens)
        keys = patches + codes
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + start, keys, patches))
        tokens = self.norm3(tokens + self.mlp(tokens))
        return tokens, self.norm4(patches + self.cross_attn_image_to_token(keys, tokens + start, tokens))


class TwoWayTransformer(nn.Module):
    """Two layers, then the tokens look at the image once more."""

    def __init__(self, width: int, best: bool):
        super().__init__()
        self.layers = nn.ModuleList([TwoWayLayer(width, best, i == 0) for i in range(2)])
        self.final_attn_token_to_image = CrossAttention(width, width // 2, best)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, start: Tensor, patches: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Updated tokens and patches."""
        tokens = start
        for layer in self.layers:
            tokens, patches = layer(tokens, patches, start, codes)
        seen = self.final_attn_token_to_image(tokens + start, patches + codes, patches)
        return self.norm_final_attn(tokens + seen), patches


class ThreeLayers(nn.Module):
    """Three dense layers with ReLU."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, size) for size in (width, width, outputs)])

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layers."""
        first, second, last = self.layers
        return last(second(first(x).relu()).relu())


class StackedLinear(nn.Module):
    """One dense layer per mask, their kernels in one tensor."""

    def __init__(self, masks: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(masks, inputs, outputs) * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(masks, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[B, masks, in] to [B, masks, out]."""
        return torch.einsum("bmi,mio->bmo", x, self.weight) + self.bias


class Hypernetworks(nn.Module):
    """A three-layer network per mask."""

    def __init__(self, masks: int, width: int):
        super().__init__()
        sizes = ((width, width), (width, width), (width, width // 8))
        self.layers = nn.ModuleList([StackedLinear(masks, *size) for size in sizes])

    def forward(self, x: Tensor) -> Tensor:
        """[B, masks, C] to [B, masks, C / 8]."""
        first, second, last = self.layers
        return last(second(first(x).relu()).relu())


class MaskDecoder(nn.Module):
    """All masks and IoUs of a batch."""

    def __init__(self, masks: int, width: int, best: bool):
        super().__init__()
        self.iou_token = nn.Parameter(torch.randn(1, width))
        self.mask_tokens = nn.Parameter(torch.randn(masks, width))
        self.transformer = TwoWayTransformer(width, best)
        self.output_upscaling_conv1 = nn.ConvTranspose2d(width, width // 4, 2, 2)
        self.output_upscaling_norm = Norm2d(width // 4)
        self.output_upscaling_conv2 = nn.ConvTranspose2d(width // 4, width // 8, 2, 2)
        self.output_hypernetworks_mlps = Hypernetworks(masks, width)
        self.iou_prediction_head = ThreeLayers(width, masks)

    def forward(self, grid: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, h, w] and [h w, C] to [B, masks, 4h, 4w] and [B, masks]."""
        own = torch.cat([self.iou_token, self.mask_tokens])
        tokens, patches = self.transformer(
            own.expand(len(grid), -1, -1), grid.flatten(2).transpose(1, 2), codes
        )
        pixels = patches.transpose(1, 2).reshape(grid.shape)
        pixels = F.gelu(self.output_upscaling_norm(self.output_upscaling_conv1(pixels)))
        pixels = F.gelu(self.output_upscaling_conv2(pixels))
        vectors = self.output_hypernetworks_mlps(tokens[:, 1:])
        masks = torch.einsum("bmc,bchw->bmhw", vectors, pixels)
        return masks, self.iou_prediction_head(tokens[:, 0])
