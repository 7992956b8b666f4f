"""The networks as pure functions of parameters and images; knows nothing of data, losses or files."""
