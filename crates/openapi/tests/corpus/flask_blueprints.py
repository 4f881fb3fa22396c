"""Recommendations by Flask."""

from flask import Blueprint, Flask, abort, jsonify, request
from flask.views import MethodView

api = Blueprint("api", __name__, url_prefix="/api")


@api.route("/users/<int:user>/books", methods=["GET"])
def books(user: int):
    """Books for a user."""
    limit = request.args.get("limit", 10, type=int)
    genre = request.args.get("genre")
    return jsonify(books=[], limit=limit, genre=genre)


@api.post("/ratings/<uuid:book>")
def rate(book):
    """Keeps a rating."""
    body = request.get_json()
    stars = body["stars"]
    words = body.get("words", "")
    if stars > 5:
        abort(400)
    return {"book": book, "stars": stars}, 201


@api.get("/covers/<any(small, large):size>/<path:name>")
def cover(size, name):
    """A cover."""
    return name


class Shelf(MethodView):
    """A user's shelf."""

    def get(self, user):
        """What is on it."""
        return {"books": []}

    def delete(self, user):
        """Empties it."""
        return "", 204


def create_app():
    app = Flask(__name__)
    app.register_blueprint(api, url_prefix="/v2")
    app.add_url_rule("/shelves/<user>", view_func=Shelf.as_view("shelf"))
    return app


app = create_app()
