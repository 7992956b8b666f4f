"""Losses, optimiser, train step, loop and checkpoints."""
