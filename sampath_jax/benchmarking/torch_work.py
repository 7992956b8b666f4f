"""The PyTorch side of the benchmark: the same subjects, as the original runs them and at their best."""

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import Tensor

from sampath_jax.benchmarking.memory import reset_peak
from sampath_jax.benchmarking.torch_model import SamPath
from sampath_jax.benchmarking.work import Work, random_tiles


def prepare(subject: str, config: ConfigDict, model_config: Any, batch: int, *, best: bool) -> Work:
    """`subject` for `batch` tiles at a time.

    Args:
        subject: encoder, forward, train or evaluate.
        config: the experiment.
        model_config: `SamPathConfig`, or anything with its fields.
        batch: tiles per repetition.
        best: fused attention, `torch.compile`, batched decoder, on GPUs encoders in bfloat16; else as the
            original: eager, float32, materialised attention, one tile at a time in the decoder.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = SamPath(model_config, best=best).to(device)
    dtype = torch.bfloat16 if best and device == "cuda" else torch.float32
    if dtype != torch.float32:
        for name in model_config.encoders:
            getattr(model, f"{name}_encoder").to(dtype)
    tiles = random_tiles(config, batch)
    images, labels = torch.as_tensor(tiles["image"]), torch.as_tensor(tiles["label"])
    canvas = tuple(config.data.canvas)
    compiled: Callable[[Callable[..., Any]], Callable[..., Any]] = torch.compile if best else lambda f: f

    encode = compiled(model.encode)
    decode = compiled(functools.partial(_decode, model, canvas))
    if subject == "encoder":
        with_images = torch.no_grad()(lambda: encode(images.to(device)))
        return _work(with_images, batch, device, dtype)
    if subject == "forward":
        forward = torch.no_grad()(lambda: _class_map(decode(encode(images.to(device)).float())[0]))
        return _work(forward, batch, device, dtype)
    if subject == "evaluate":
        features = torch.zeros(batch, model.feature_width, *model.grid, dtype=dtype)
        score = torch.no_grad()(
            lambda: _confusion(
                labels.to(device),
                _class_map(decode(features.to(device).float())[0]),
                model_config.num_classes,
            )
        )
        return _work(score, batch, device, dtype)
    optimiser = torch.optim.AdamW(model.trainable(), config.optim.learning_rate)

    def step() -> None:
        logits, iou = decode(encode(images.to(device)).float())
        loss = _loss(logits, iou, labels.to(device).long(), config.loss.alpha, config.loss.beta)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return _work(step, batch, device, dtype)


def _work(run: Callable[[], Any], batch: int, device: str, dtype: torch.dtype) -> Work:
    """Runs once, which compiles; the time of that includes one repetition."""

    def finish() -> None:
        run()
        if device == "cuda":
            torch.cuda.synchronize()

    reset_peak()
    started = time.perf_counter()
    finish()
    seconds = time.perf_counter() - started
    return Work(finish, tiles=batch, compile_seconds=seconds, dtype=str(dtype).removeprefix("torch."))


def _decode(model: SamPath, canvas: tuple[int, int], features: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [B, k+1, H, W] on the canvas, and IoUs."""
    logits, iou = model.decode(features)
    return F.interpolate(logits, canvas, mode="bilinear", align_corners=False), iou


def _class_map(logits: Tensor) -> Tensor:
    return (logits[:, 1:].argmax(1) + 1).to(torch.uint8)


def _confusion(truth: Tensor, predicted: Tensor, classes: int) -> Tensor:
    side = classes + 1
    cells = (truth.long() * side + predicted).flatten(1)
    return torch.stack([torch.bincount(tile, minlength=side * side) for tile in cells])


def _loss(logits: Tensor, iou: Tensor, labels: Tensor, alpha: float, beta: float) -> Tensor:
    """Equation 3 at full resolution, as the original computes it."""
    logits = logits * (labels > 0)[:, None]
    target = F.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2)[:, 1:].float()
    softmax = logits.softmax(1)[:, 1:]
    pixels = (2, 3)
    overlap = (softmax * target).sum(pixels)
    mass = softmax.sum(pixels) + target.sum(pixels)
    dice = (1 - (2 * overlap + 1e-5) / (mass + 1e-5)).mean()
    cross_entropy = F.binary_cross_entropy_with_logits(logits[:, 1:], target, reduction="none")
    focal = ((1 - torch.exp(-cross_entropy)) ** 2 * cross_entropy).mean()
    hard = (softmax >= 0.5).float()
    shared = (hard * target).sum(pixels)
    true_iou = shared / (hard.sum(pixels) + target.sum(pixels) - shared + 1e-7)
    return (1 - alpha) * dice + alpha * focal + beta * F.mse_loss(iou[:, 1:], true_iou)
