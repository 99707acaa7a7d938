"""What loss terms that compare features share: the network, its weights, and how to read published ones."""
