from flask import Flask


def create_app():
    app = Flask(__name__)

    from . import orders

    app.register_blueprint(orders.bp, url_prefix="/v1/orders")
    return app
