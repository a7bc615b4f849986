"""Named tensors as one value, computed one at a time: in memory (`tensors`, `algebra`) and in folders of shards (`folder`)."""
