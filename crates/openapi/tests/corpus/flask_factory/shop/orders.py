from flask import Blueprint
from flask.views import MethodView

bp = Blueprint("orders", __name__, url_prefix="/orders")


class OrderView(MethodView):
    def get(self, order) -> dict[str, int]:
        """An order."""

    def delete(self, order):
        """Forgets an order."""
        return "", 204


bp.add_url_rule("/<uuid:order>", view_func=OrderView.as_view("order"))
