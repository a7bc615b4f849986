"""Named tensors as one value, computed one at a time; `adapter.model_folder` reads and writes them in shards."""
