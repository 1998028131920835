"""Writes the pipeline as an MLflow model that answers with probabilities: FOLDER MODEL."""

import shutil
import sys

import joblib
import mlflow.sklearn

folder, model = sys.argv[1:]
shutil.rmtree(folder, ignore_errors=True)
mlflow.sklearn.save_model(
    joblib.load(f"{model}/model.joblib"),
    folder,
    serialization_format="cloudpickle",
    pyfunc_predict_fn="predict_proba",
)
