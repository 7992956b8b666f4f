"""Haematoxylin and eosin: how two stains absorb light, and a jitter of how much of each is there.

Source   Beer-Lambert: light = white * exp(-amounts @ absorption), Ruifrok and Johnston 2001; the absorption
         vectors are the reference stains of Macenko et al. 2009. The jitter follows Tellez et al. 2018.
Differs  colour that the two stains do not explain (blood, ink, pigment) is left as it is.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sampath_jax.data.color import Planes

#: Absorption of red, green and blue light per unit of haematoxylin (row 0) and eosin (row 1); unit vectors.
HE = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]], np.float32)
#: Optical density (R, G, B) to stain amounts: least squares.
TO_AMOUNTS = np.linalg.pinv(HE)


def scale_stains(image: Planes, scale: Float[Array, "2"]) -> Planes:
    """Multiplies the amounts of haematoxylin and eosin in an RGB image, 0..255; factors of 1 change nothing.

    Density changes linearly: d' = d + d @ to_amounts @ diag(scale - 1) @ absorption. Half a grey level added
    before the logarithm keeps black finite.
    """
    change = jnp.asarray(TO_AMOUNTS) @ ((scale - 1)[:, None] * HE)
    density = [-jnp.log((plane + 0.5) / 255.5) for plane in image]
    changed = [d + sum(density[i] * change[i, j] for i in range(3)) for j, d in enumerate(density)]
    red, green, blue = (jnp.clip(255.5 * jnp.exp(-d) - 0.5, 0, 255) for d in changed)
    return red, green, blue
