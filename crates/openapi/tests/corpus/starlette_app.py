"""Starlette, with routes in a list."""

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route


async def embed(request):
    """Embeds a text."""
    body = await request.json()
    return JSONResponse({"vector": [len(body["text"])]})


class Job(HTTPEndpoint):
    async def get(self, request):
        """How far a job is."""
        return JSONResponse({"done": request.query_params.get("verbose", "no")})


routes = [
    Route("/embed", embed, methods=["POST"]),
    Mount("/jobs", routes=[Route("/{number:int}", Job)]),
]
app = Starlette(debug=True, routes=routes)
