"""State dicts with the published names and layouts, written out by hand, with random values."""

import torch

WIDTH = 256
#: The encoders' tiny sizes (`sampath_jax.models.config`): width, depth, heads, grid, global blocks, window.
SAM_TINY = (96, 4, 4, 16, (1, 3), 7)
SAM_LARGE = {
    "vit_b": (768, 12, 12, 64, (2, 5, 8, 11), 14),
    "vit_l": (1024, 24, 16, 64, (5, 11, 17, 23), 14),
    "vit_h": (1280, 32, 16, 64, (7, 15, 23, 31), 14),
}
HIPT_TINY = (48, 3, 14)


def pair(name, weight, bias=None):
    """Weight and bias of one layer; the bias has the length of the first axis unless told."""
    return {f"{name}.weight": weight, f"{name}.bias": (bias or weight[0],)}


def sam_encoder(width, depth, heads, grid, global_blocks, window):
    shapes = {"image_encoder.pos_embed": (1, grid, grid, width)}
    shapes |= pair("image_encoder.patch_embed.proj", (width, 3, 16, 16))
    for i in range(depth):
        block, side = f"image_encoder.blocks.{i}", grid if i in global_blocks else window
        shapes |= pair(f"{block}.norm1", (width,)) | pair(f"{block}.norm2", (width,))
        shapes |= pair(f"{block}.attn.qkv", (3 * width, width)) | pair(f"{block}.attn.proj", (width, width))
        shapes |= {f"{block}.attn.rel_pos_{axis}": (2 * side - 1, width // heads) for axis in "hw"}
        shapes |= pair(f"{block}.mlp.lin1", (4 * width, width)) | pair(
            f"{block}.mlp.lin2", (width, 4 * width)
        )
    return shapes | neck("image_encoder.neck", width)


def neck(name, inputs):
    shapes = {f"{name}.0.weight": (WIDTH, inputs, 1, 1), f"{name}.2.weight": (WIDTH, WIDTH, 3, 3)}
    return shapes | pair(f"{name}.1", (WIDTH,)) | pair(f"{name}.3", (WIDTH,))


def prompt_encoder():
    vectors = [*(f"point_embeddings.{i}" for i in range(4)), "not_a_point_embed", "no_mask_embed"]
    shapes = {f"prompt_encoder.{name}.weight": (1, WIDTH) for name in vectors}
    shapes["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = (2, WIDTH // 2)
    for i, shape in {0: (4, 1, 2, 2), 1: (4,), 3: (16, 4, 2, 2), 4: (16,), 6: (WIDTH, 16, 1, 1)}.items():
        shapes |= pair(f"prompt_encoder.mask_downscaling.{i}", shape)
    return shapes


def attention(name, inner):
    shapes = pair(f"{name}.out_proj", (WIDTH, inner))
    for x in "qkv":
        shapes |= pair(f"{name}.{x}_proj", (inner, WIDTH))
    return shapes


def mask_decoder(tokens):
    shapes = {"iou_token.weight": (1, WIDTH), "mask_tokens.weight": (tokens, WIDTH)}
    for i in (0, 1):
        layer = f"transformer.layers.{i}"
        shapes |= attention(f"{layer}.self_attn", WIDTH)
        shapes |= attention(f"{layer}.cross_attn_token_to_image", WIDTH // 2)
        shapes |= attention(f"{layer}.cross_attn_image_to_token", WIDTH // 2)
        shapes |= pair(f"{layer}.mlp.lin1", (2048, WIDTH)) | pair(f"{layer}.mlp.lin2", (WIDTH, 2048))
        for n in (1, 2, 3, 4):
            shapes |= pair(f"{layer}.norm{n}", (WIDTH,))
    shapes |= attention("transformer.final_attn_token_to_image", WIDTH // 2)
    shapes |= pair("transformer.norm_final_attn", (WIDTH,))
    shapes |= pair("output_upscaling.0", (256, 64, 2, 2), bias=64) | pair("output_upscaling.1", (64,))
    shapes |= pair("output_upscaling.3", (64, 32, 2, 2), bias=32)
    for name in (*(f"output_hypernetworks_mlps.{i}" for i in range(tokens)), "iou_prediction_head"):
        last = tokens if name.startswith("iou") else 32
        for i, shape in enumerate([(WIDTH, WIDTH), (WIDTH, WIDTH), (last, WIDTH)]):
            shapes |= pair(f"{name}.layers.{i}", shape)
    return {f"mask_decoder.{name}": shape for name, shape in shapes.items()}


def sam_shapes(size=SAM_TINY, tokens=4):
    return sam_encoder(*size) | prompt_encoder() | mask_decoder(tokens)


def hipt_shapes(width, depth, grid):
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 1 + grid**2, width)}
    shapes |= pair("patch_embed.proj", (width, 3, 16, 16)) | pair("norm", (width,))
    for i in range(depth):
        block = f"blocks.{i}"
        shapes |= pair(f"{block}.norm1", (width,)) | pair(f"{block}.norm2", (width,))
        shapes |= pair(f"{block}.attn.qkv", (3 * width, width)) | pair(f"{block}.attn.proj", (width, width))
        shapes |= pair(f"{block}.mlp.fc1", (4 * width, width)) | pair(f"{block}.mlp.fc2", (width, 4 * width))
    return shapes


def trained_shapes(encoders, classes):
    """SAM-Path as Lightning saves it; `classes` without the unlabelled one."""
    sam, hipt = SAM_TINY[0], HIPT_TINY[0]
    inner = {f"model.model.{name}": shape for name, shape in sam_shapes(tokens=classes + 2).items()}
    if "hipt" in encoders:
        body = hipt_shapes(*HIPT_TINY)
        inner |= {f"model.extra_encoder.model.{name}": shape for name, shape in body.items()}
    if encoders == ("sam", "hipt"):
        inner |= neck("model.fusion_neck", sam + hipt)
    elif encoders == ("hipt",):
        inner |= neck("model.extra_encoder.neck", hipt)
    return inner


def random_state(shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def empty_state(shapes):
    """The same names and shapes, all zeros, in a few bytes: every tensor repeats one element."""
    return {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
