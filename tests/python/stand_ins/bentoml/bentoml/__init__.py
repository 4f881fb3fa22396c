"""What a service of bentoml needs of it, without its servers."""

from _bentoml_sdk import Service


def service(inner):
    return Service(inner)


def api(function):
    function.is_api = True
    return function


def on_startup(function):
    function.__bentoml_startup_hook__ = True
    return function
