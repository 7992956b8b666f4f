"""What the released configurations of BCSS and CRAG share: every value is theirs unless its comment says so.

Mostly what `sampath_jax.config` has as defaults; written out, so that these experiments stay as published
when a default changes.
"""

from ml_collections import ConfigDict


def share(c: ConfigDict) -> None:
    """Sets the encoders, the training transform, the loss and the optimiser of both experiments."""
    c.model.encoders = ("sam", "hipt")  # section 2: SAM ViT-B and HIPT's 256-pixel ViT-S, both frozen
    c.model.sam, c.model.hipt = "vit_b", "vit_s"
    c.model.input_size = (1024, 1024)  # SAM's own; another canvas is resized, bilinear without antialiasing
    # Ours: bfloat16 for the frozen encoders on accelerators, float32 on CPU. Released: float32 everywhere,
    # which --config.model.encoder_dtype=float32 gives.
    c.model.encoder_dtype = "auto"
    c.weights.sam, c.weights.hipt = "weights/sam_vit_b", "weights/hipt_vit_s"

    # The training transform, in this order; images and masks alike.
    c.augment.crop_area = (0.08, 1.0)  # RandomResizedCrop, always: the share of the image, uniform
    c.augment.crop_ratio = (3 / 4, 4 / 3)  # width over height, log-uniform
    c.augment.flip_probability = 0.75  # Flip: of rows, of columns or of both, each as likely
    c.augment.turn_probability = 0.5  # RandomRotate90: by 0 to 3 quarters, each as likely
    c.augment.color_probability = 0.5  # ColorJitter, in random order: factors of 1 +- 0.1, hue +- 0.1 turns
    c.augment.brightness = c.augment.contrast = c.augment.saturation = c.augment.hue = 0.1
    c.augment.stain = 0.0

    c.loss.unlabelled = "published"  # so that loss curves compare with the released code's

    # AdamW with torch's betas (0.9, 0.999) and epsilon 1e-8: `sampath_jax.training.optimiser` has them.
    c.optim.learning_rate = 1e-4
    c.optim.weight_decay = 1e-2  # on every trained tensor, biases and norms too
    c.optim.drop_factor = 0.1
