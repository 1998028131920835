"""The prediction log written: frames, segments, and what may be kept."""
