"""Where the encoders' public weights are, and what to tell a user who lacks them. Nothing here downloads."""

from pathlib import Path

from sampath_jax.errors import InputError

#: Where the public files are: config.model value -> (address, sha256).
PUBLIC_FILES = {
    "vit_b": (
        "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    "vit_l": (
        "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    "vit_h": (
        "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    "vit_s": (
        "https://github.com/mahmoodlab/HIPT/raw/master/HIPT_4K/Checkpoints/vit256_small_dino.pth",
        "6960cd5a8657dc8bb214671aa0c6dbd3f5b698e84386884955836487ddc89e24",
    ),
}


def find_folder(part: str, place: str, size: str, base: Path | None) -> Path:
    """The folder of `config.weights.<part>` = `place`.

    Raises:
        InputError: it is not there; says where the public file is and how to convert it.
    """
    candidates = [root / place for root in (base, Path()) if root is not None and place]
    for folder in candidates:
        if folder.is_dir():
            return folder
    problem = f"there is no folder {candidates[-1]}" if place else "it is empty"
    advice = f'set config.weights.{part} to a folder written by convert.{part}, or to "random"'
    if size in PUBLIC_FILES:
        address, checksum = PUBLIC_FILES[size]
        source, output = address.rsplit("/", 1)[-1], place or f"weights/{part}_{size}"
        advice = (
            f"download {address} (sha256 {checksum}) and run\n"
            f"  python -m convert.{part} --input {source} --output {output}"
        )
    raise InputError(f"no {size} weights for config.weights.{part}: {problem}.\nTo get them, {advice}")
