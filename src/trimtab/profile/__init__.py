"""The mergeable profile of a table, a window or a training set: pure counting."""
