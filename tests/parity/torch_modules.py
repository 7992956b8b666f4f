"""SAM-Path's parts in plain PyTorch, with the published parameter names: what ours is compared with.

SAM's image encoder comes from `transformers`; these are the parts that it lacks.
"""

import math

import torch
from torch import nn
from torch.nn.functional import gelu, interpolate, relu


class LayerNorm2d(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        x = x - x.mean(1, keepdim=True)
        x = x / torch.sqrt((x**2).mean(1, keepdim=True) + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


def neck(features, width=256):
    return nn.Sequential(
        nn.Conv2d(features, width, 1, bias=False),
        LayerNorm2d(width),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        LayerNorm2d(width),
    )


def attend(q, k, v):
    """softmax(q k^T / sqrt(d)) v for [..., n, d]."""
    return ((q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5).softmax(-1) @ v


class HiptAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, n, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(attend(q, k, v).transpose(1, 2).reshape(batch, n, width))


class HiptMlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(gelu(self.fc1(x)))


class HiptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = HiptAttention(width, heads), HiptMlp(width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Hipt(nn.Module):
    """The dense pathology encoder; takes ImageNet-normalised images, gives [B, h, w, C]."""

    def __init__(self, config):
        super().__init__()
        width = config.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid**2, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, 16, stride=16)})
        self.blocks = nn.ModuleList([HiptBlock(width, config.heads) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images):
        std = images.new_tensor([0.229, 0.224, 0.225])[:, None, None]
        mean = images.new_tensor([0.485, 0.456, 0.406])[:, None, None]
        patches = self.patch_embed["proj"](((images * std + mean) - 0.5) / 0.5)
        batch, width, h, w = patches.shape
        tokens = torch.cat([self.cls_token.expand(batch, -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        x = tokens + self.positions(h, w)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 1:].reshape(batch, h, w, width)

    def positions(self, h, w):
        side = math.isqrt(self.pos_embed.shape[1] - 1)
        square = self.pos_embed[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        scale = ((h + 0.1) / side, (w + 0.1) / side)
        patches = interpolate(square, scale_factor=scale, mode="bicubic").flatten(2).transpose(1, 2)
        return torch.cat([self.pos_embed[:, :1], patches], 1)


class Attention(nn.Module):
    def __init__(self, width, inner, heads=8):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, width)

    def forward(self, q, k, v):
        q, k, v = (self.split(p(x)) for p, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v)))
        return self.out_proj(attend(q, k, v).transpose(1, 2).flatten(2))

    def split(self, x):
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class TokenMlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x):
        return self.lin2(relu(self.lin1(x)))


class TwoWayLayer(nn.Module):
    def __init__(self, width, mlp_width, first, heads):
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, width, heads)
        self.cross_attn_token_to_image = Attention(width, width // 2, heads)
        self.cross_attn_image_to_token = Attention(width, width // 2, heads)
        self.mlp = TokenMlp(width, mlp_width)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))

    def forward(self, tokens, image, token_positions, image_positions):
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_positions
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        k = image + image_positions
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_positions, k, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        return tokens, self.norm4(image + self.cross_attn_image_to_token(k, tokens + token_positions, tokens))


class TwoWayTransformer(nn.Module):
    def __init__(self, width, mlp_width, heads):
        super().__init__()
        self.layers = nn.ModuleList([TwoWayLayer(width, mlp_width, i == 0, heads) for i in range(2)])
        self.final_attn_token_to_image = Attention(width, width // 2, heads)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, tokens, image, image_positions):
        start = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, start, image_positions)
        last = self.final_attn_token_to_image(tokens + start, image + image_positions, image)
        return self.norm_final_attn(tokens + last), image


class ThreeLayers(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, n) for n in (width, width, outputs)])

    def forward(self, x):
        return self.layers[2](relu(self.layers[1](relu(self.layers[0](x)))))


class MaskDecoder(nn.Module):
    """All masks [B, n, H, W] and IoUs [B, n] of images [B, C, h, w], one image at a time as published."""

    def __init__(self, masks, width=256, mlp_width=2048, heads=8):
        super().__init__()
        self.iou_token, self.mask_tokens = nn.Embedding(1, width), nn.Embedding(masks, width)
        self.transformer = TwoWayTransformer(width, mlp_width, heads)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList([ThreeLayers(width, width // 8) for _ in range(masks)])
        self.iou_prediction_head = ThreeLayers(width, masks)

    def forward(self, grid, positions):
        masks, ious = zip(*(self.decode(image[None], positions) for image in grid), strict=True)
        return torch.cat(masks), torch.cat(ious)

    def decode(self, image, positions):
        _, width, h, w = image.shape
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])[None]
        tokens, image = self.transformer(
            tokens, image.flatten(2).transpose(1, 2), positions.reshape(1, h * w, width)
        )
        pixels = self.output_upscaling(image.transpose(1, 2).reshape(1, width, h, w))
        drawn = [mlp(token) for mlp, token in zip(self.output_hypernetworks_mlps, tokens[0, 1:], strict=True)]
        return torch.einsum("bchw,nc->bnhw", pixels, torch.stack(drawn)), self.iou_prediction_head(
            tokens[:, 0]
        )


def dense_positions(frequencies, h, w):
    """[h, w, C]: sine and cosine of random frequencies, (x, y) scaled to -1..1."""
    y, x = torch.meshgrid(
        (torch.arange(h, dtype=frequencies.dtype) + 0.5) / h,
        (torch.arange(w, dtype=frequencies.dtype) + 0.5) / w,
        indexing="ij",
    )
    angle = 2 * math.pi * ((2 * torch.stack([x, y], -1) - 1) @ frequencies)
    return torch.cat([angle.sin(), angle.cos()], -1)


class Head(nn.Module):
    """Neck and mask decoder of SAM-Path, with the prompt encoder's constants."""

    def __init__(self, features, classes, frequencies, no_mask, **sizes):
        super().__init__()
        self.neck = neck(features, len(no_mask))
        self.mask_decoder = MaskDecoder(classes + 2, len(no_mask), **sizes)
        self.register_buffer("frequencies", frequencies)
        self.register_buffer("no_mask", no_mask)

    def forward(self, features):
        """[B, h, w, F] -> logits [B, h, w, k + 1] and IoUs [B, k + 1]."""
        grid = self.neck(features.permute(0, 3, 1, 2)) + self.no_mask[:, None, None]
        masks, iou = self.mask_decoder(grid, dense_positions(self.frequencies, *grid.shape[2:]))
        return masks[:, 1:].permute(0, 2, 3, 1), iou[:, 1:]
