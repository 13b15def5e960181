"""A scheduler that runs prioritized PyTorch inference out of locked conda environments."""
