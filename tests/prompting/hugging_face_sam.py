"""transformers' SAM as an independent implementation to compare with: same seeded random weights in both."""

import torch
from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

from convert import hugging_face
from convert.table import revert
from sampath_jax.initial_values import random_weights
from sampath_jax.models.abstract import abstract, shapes_of
from sampath_jax.models.config import SamEncoderConfig
from sampath_jax.models.sam import Sam
from sampath_jax.weights import fill


def ours_and_theirs(config: SamEncoderConfig, seed: int = 0) -> tuple[Sam, SamModel]:
    """Both models of the size of `config`; every parameter is random, none trivial."""
    empty = abstract(lambda rngs: Sam(config, rngs=rngs))
    values = random_weights(shapes_of(empty), seed)
    dotted = {path.replace("/", "."): value for path, value in values.items()}
    tensors = revert(dotted, hugging_face.TABLE.rows)
    theirs = SamModel(hugging_face_config(config)).eval()
    theirs.load_state_dict(
        {name: torch.from_numpy(tensor.copy()) for name, tensor in tensors.items()}, strict=False
    )
    left_out = set(theirs.state_dict()) - set(tensors)
    assert all(name.startswith("prompt_encoder.shared_embedding") for name in left_out), left_out
    return fill(empty, values), theirs


def hugging_face_config(config: SamEncoderConfig) -> SamConfig:
    side = config.grid[0] * config.patch
    vision = SamVisionConfig(
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        image_size=side,
        patch_size=config.patch,
        window_size=config.window,
        global_attn_indexes=list(config.global_blocks),
        mlp_dim=4 * config.width,
    )
    prompts = SamPromptEncoderConfig(image_size=side, patch_size=config.patch)
    # 1e-5 is what SAM was trained with (torch's default); transformers' own default is 1e-6
    decoder = SamMaskDecoderConfig(layer_norm_eps=1e-5)
    return SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
