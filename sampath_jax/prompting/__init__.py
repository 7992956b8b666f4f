"""SAM with prompts: points, boxes, masks, segment-everything, and the baselines of the paper's table 1."""
