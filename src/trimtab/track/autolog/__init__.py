"""Runs without a line of code: fits of scikit-learn, LightGBM and XGBoost, where they are loaded."""
