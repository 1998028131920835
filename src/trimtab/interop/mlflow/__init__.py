"""MLflow's REST protocol over the project's own runs, points and blobs."""
