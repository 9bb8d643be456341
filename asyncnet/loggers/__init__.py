"""Progress for the trackers that people have: TensorBoard, Weights & Biases, CSV. A file each; each imports its library when it is first asked for."""
