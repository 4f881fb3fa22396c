"""Translations by Starlette: routes in lists, mounts, classes."""

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route


async def translate(request):
    """Translates a text."""
    body = await request.json()
    text = body["text"]
    target = request.path_params["language"]
    if not text:
        raise HTTPException(status_code=400, detail="There is no text.")
    return JSONResponse({"text": text, "language": target})


async def languages(request):
    """Languages that are known."""
    wanted = request.query_params.get("wanted", "")
    return JSONResponse(["de", "en"])


class Glossary(HTTPEndpoint):
    """Words with their meaning."""

    async def get(self, request):
        """One word."""
        return JSONResponse({"word": request.path_params["word"]})

    async def put(self, request):
        """Keeps a word."""
        return PlainTextResponse("kept", status_code=201)


api = [
    Route("/translate/{language}", translate, methods=["POST"]),
    Route("/languages", languages),
    Mount("/glossary", routes=[Route("/{word:str}", Glossary)]),
]

app = Starlette(routes=[Mount("/v1", routes=api), Route("/pages/{number:int}", languages, name="pages")])
