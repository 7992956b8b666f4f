"""PyTorch models with the parameters of a SAM-Path model given by our paths."""

import numpy as np
import torch
from transformers import SamVisionConfig, SamVisionModel

from convert import hipt, hugging_face, sam
from convert.table import revert
from sampath_jax.models.config import SamPathConfig
from tests.parity.torch_modules import Head, Hipt


def sam_encoder(values: dict[str, np.ndarray], config: SamPathConfig) -> SamVisionModel:
    """transformers' image encoder; ours ends before its neck, so that is replaced by nothing."""
    size = config.sam
    model = SamVisionModel(
        SamVisionConfig(
            hidden_size=size.width,
            num_hidden_layers=size.depth,
            num_attention_heads=size.heads,
            image_size=size.grid[0] * size.patch,
            patch_size=size.patch,
            window_size=size.window,
            global_attn_indexes=list(size.global_blocks),
            mlp_dim=4 * size.width,
        )
    ).eval()
    model.vision_encoder.neck = torch.nn.Identity()
    return _load(model, revert(_below(values, "sam_encoder"), hugging_face.ENCODER))


def hipt_encoder(values: dict[str, np.ndarray], config: SamPathConfig) -> Hipt:
    return _load(Hipt(config.hipt), revert(_below(values, "hipt_encoder"), hipt.ROWS))


def head(values: dict[str, np.ndarray], config: SamPathConfig, **sizes: int) -> Head:
    frequencies = torch.tensor(values["prompt_encoder/positional_encoding"])
    no_mask = torch.tensor(values["prompt_encoder/no_mask_embed"])
    model = Head(config.feature_width, config.num_classes, frequencies, no_mask, **sizes)
    rows = (*sam.neck_rows("neck"), *sam.DECODER)
    state = revert(_below(values, "neck") | _below(values, "mask_decoder"), rows)
    return _load(model, state | {"frequencies": frequencies.numpy(), "no_mask": no_mask.numpy()})


def _below(values: dict[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    return {path: value for path, value in values.items() if path.startswith(f"{part}/")}


def _load(model: torch.nn.Module, state: dict[str, np.ndarray]):
    model.load_state_dict({name: torch.tensor(np.ascontiguousarray(value)) for name, value in state.items()})
    return model


@torch.no_grad()
def run(values: dict[str, np.ndarray], config: SamPathConfig, image: np.ndarray, dtype: torch.dtype):
    """Every stage of SAM-Path on one image, run in `dtype`; channels last, as float64 arrays."""
    mean, std = (torch.tensor(v, dtype=dtype) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    # The published formula, with its rounding in float32: it is the models that are compared.
    scaled = (torch.tensor(image).float() - 255 * mean.float()) * (1 / (255 * std.float()))
    pixels = scaled.permute(0, 3, 1, 2).to(dtype)
    natural = sam_encoder(values, config).to(dtype)(pixels).last_hidden_state
    pathology = hipt_encoder(values, config).to(dtype)(pixels)
    features = torch.cat([natural, pathology], -1)
    model = head(values, config).to(dtype)
    fused = model.neck(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    logits, iou = model(features)
    stages = {"sam_tokens": natural, "hipt_tokens": pathology, "fused": fused, "logits": logits, "iou": iou}
    return {name: value.double().numpy() for name, value in stages.items()}
