"""The sizes of the networks, as frozen dataclasses: one classmethod per published size.

Source   segment_anything/build_sam.py and HIPT's `vit_small`; tiny sizes are ours, for tests and the demo.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from sampath_jax.errors import InputError

#: Width of the prompt encoder, the neck's output and the mask decoder; the same in every size of SAM.
PROMPT_WIDTH = 256


@dataclasses.dataclass(frozen=True)
class SamEncoderConfig:
    """SAM's image encoder; blocks not in `global_blocks` attend in windows of `window` x `window` patches."""

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    window: int = 14
    patch: int = 16
    grid: tuple[int, int] = (
        64,
        64,
    )  # rows, columns of patches in pretraining: the size of the position tables

    @classmethod
    def vit_b(cls) -> "SamEncoderConfig":
        """91 M parameters, the size of the paper."""
        return cls(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11))

    @classmethod
    def vit_l(cls) -> "SamEncoderConfig":
        """308 M parameters."""
        return cls(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23))

    @classmethod
    def vit_h(cls) -> "SamEncoderConfig":
        """637 M parameters."""
        return cls(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31))

    @classmethod
    def tiny(cls) -> "SamEncoderConfig":
        """For tests and the demo: 256 x 256 inputs."""
        return cls(width=96, depth=4, heads=4, global_blocks=(1, 3), window=7, grid=(16, 16))


@dataclasses.dataclass(frozen=True)
class HiptConfig:
    """HIPT's patch-level vision transformer, used on a whole tile as one sequence."""

    width: int
    depth: int
    heads: int
    patch: int = 16
    grid: int = 14  # patches per side in pretraining (224 pixels): the size of the position table

    @classmethod
    def vit_s(cls) -> "HiptConfig":
        """22 M parameters, the size of the paper."""
        return cls(width=384, depth=12, heads=6)

    @classmethod
    def tiny(cls) -> "HiptConfig":
        """For tests and the demo."""
        return cls(width=48, depth=3, heads=3)


@dataclasses.dataclass(frozen=True)
class SamPathConfig:
    """SAM-Path: which encoders, how many classes, at what input size, computed how."""

    num_classes: int  # k, without the 'unlabelled' channel
    encoders: tuple[Literal["sam", "hipt"], ...] = ("sam", "hipt")
    sam: SamEncoderConfig = dataclasses.field(default_factory=SamEncoderConfig.vit_b)
    hipt: HiptConfig = dataclasses.field(default_factory=HiptConfig.vit_s)
    input_size: tuple[int, int] = (1024, 1024)  # height, width that the encoders see
    train_neck: bool = True
    attention: str = "auto"
    encoder_dtype: Literal["float32", "bfloat16"] = "float32"

    @classmethod
    def from_config(cls, config: ConfigDict) -> "SamPathConfig":
        """The model of an experiment's config; "auto" precision is resolved by the default device.

        Raises:
            InputError: no classes are listed.
        """
        model = config.model
        if not config.data.classes:
            raise InputError(
                "config.data.classes is empty: list the classes, each with a name and its mask values"
            )
        return cls(
            num_classes=len(config.data.classes),
            encoders=tuple(model.encoders),
            sam=getattr(SamEncoderConfig, model.sam)(),
            hipt=getattr(HiptConfig, model.hipt)(),
            input_size=tuple(model.input_size),
            train_neck=model.train_neck,
            attention=model.attention,
            encoder_dtype=resolve_dtype(model.encoder_dtype),
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches that the encoders give."""
        return self.input_size[0] // self.sam.patch, self.input_size[1] // self.sam.patch

    @property
    def feature_width(self) -> int:
        """Channels of the features: SAM's, then HIPT's, of the encoders in use."""
        return sum({"sam": self.sam.width, "hipt": self.hipt.width}[name] for name in self.encoders)

    @property
    def compute_dtype(self) -> DTypeLike:
        """The type of the encoders' matrix products."""
        return jnp.dtype(self.encoder_dtype)


def resolve_dtype(name: str) -> Literal["float32", "bfloat16"]:
    """`config.model.encoder_dtype`, where "auto" means bfloat16 on accelerators and float32 on CPU."""
    if name == "auto":
        return "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return "bfloat16" if name == "bfloat16" else "float32"
