"""Which module loads a framework's models. It is imported only then, so that a worker starts with what it needs."""

import importlib

LOADERS = {
    "ScikitLearn": ("estimators", "load_scikit_learn"),
    "XGBoost": ("boosters", "load_xgboost"),
    "LightGBM": ("boosters", "load_lightgbm"),
    "Keras": ("tensorflow_keras", "load_keras"),
    "TensorFlow": ("tensorflow_keras", "load_tensorflow"),
    "PyTorch": ("pytorch", "load_pytorch"),
    "Custom": ("custom", "load_custom"),
}


def load(arguments):
    module, function = LOADERS[arguments.framework]
    return getattr(importlib.import_module(f".{module}", __package__), function)(arguments)
