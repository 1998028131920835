"""Runs from and to other tools' stores: MLflow's servers, folders and databases."""
