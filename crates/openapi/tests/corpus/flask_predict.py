"""A classifier behind Flask."""

import joblib
from flask import Flask, abort, jsonify, request
from pydantic import BaseModel

app = Flask(__name__)
model = joblib.load("model.joblib")


class Flower(BaseModel):
    sepal_length: float
    sepal_width: float


@app.route("/predict", methods=["POST"])
def predict():
    """Tells the species of a flower."""
    data = request.get_json()
    if "features" not in data:
        abort(400, "give `features`")
    scale = data.get("scale", 1.0)
    return jsonify(model.predict([data["features"]]).tolist()), 200


@app.post("/flower")
def flower() -> dict[str, str]:
    flower = Flower(**request.json)
    return {"species": model.predict([[flower.sepal_length, flower.sepal_width]])[0]}


@app.get("/classes/<int:number>")
def name_of(number):
    """The name of a class.

    :param number: From 0.
    """
    language = request.args.get("language", "en")
    top = request.args.get("top", default=3, type=int)
    return model.classes_[number]


@app.route("/upload", methods=["PUT"])
def upload():
    image = request.files["image"]
    note = request.form.get("note")
    return "", 204
