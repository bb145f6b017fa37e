"""The edge to the local disk: buffers, segments, chunks."""
