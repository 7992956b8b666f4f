"""PyTorch checkpoints to ours and back; one module and one name table per source format."""
