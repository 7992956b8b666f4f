"""The arrays of the project, named once. Checked at run time in tests only.

Letters: ``B`` batch, ``H W`` pixels, ``gh gw`` patches, ``h w`` low-resolution pixels, ``F`` features,
``C`` channels, ``k`` classes.
"""

from jaxtyping import Array, Bool, Float, Int, UInt8

#: RGB tiles on the canvas, 0..255: uint8 from the host, float32 after augmentation.
Images = UInt8[Array, "B H W 3"] | Float[Array, "B H W 3"]
#: 0 = unlabelled (ignored everywhere), 1..k = the classes in config order.
Labels = UInt8[Array, "B H W"]
#: False for the padding of a short last batch: such a tile counts nowhere.
Valid = Bool[Array, " B"]
#: SAM tokens then HIPT tokens, concatenated, before the neck.
Features = Float[Array, "B gh gw F"]
#: One mask per channel; channel c belongs to label c, channel 0 is the published 'unlabelled' channel.
Logits = Float[Array, "B h w C"]
#: Predicted IoU per channel.
IoU = Float[Array, "B C"]
#: Rows are true labels, columns are predictions, both 0..k.
Confusion = Int[Array, "k k"]
