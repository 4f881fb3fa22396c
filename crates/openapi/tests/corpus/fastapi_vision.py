"""Images by FastAPI: files, forms, enums, streams."""

from __future__ import annotations

from enum import Enum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Body, Cookie, FastAPI, File, Form, Header, HTTPException, Path, Query, UploadFile, WebSocket, status
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

app = FastAPI(title="Vision", root_path="/ignored")
router = APIRouter(prefix="/v1/images", tags=["images"])


class Size(str, Enum):
    small = "small"
    large = "large"


class Box(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    left_edge: int
    label_text: str = Field(serialization_alias="label")


class Problem(BaseModel):
    detail: str


@router.post("/", response_model=list[Box], status_code=status.HTTP_202_ACCEPTED, summary="Finds things", responses={413: {"model": Problem, "description": "Too large."}})
async def detect(
    image: UploadFile,
    tasks: BackgroundTasks,
    threshold: Annotated[float, Form(ge=0, le=1)] = 0.5,
    labels: Annotated[list[str] | None, Form()] = None,
):
    """Finds things in an image."""


@router.get("/{image_id}/{size}", response_class=FileResponse)
async def fetch(image_id: Annotated[UUID, Path(description="Of the image.")], size: Size, if_none_match: Annotated[str | None, Header()] = None):
    """The image in a size."""


@router.delete("/{image_id}", status_code=204)
def remove(image_id: UUID, session: Annotated[str | None, Cookie()] = None) -> None:
    """Removes an image."""
    raise HTTPException(status.HTTP_404_NOT_FOUND)


@router.put("/{image_id}/boxes")
def store(image_id: UUID, boxes: list[Box], note: Annotated[str, Body(embed=True, max_length=80)] = "") -> Box:
    """Keeps boxes."""


@router.api_route("/search", methods=["GET", "POST"])
def search(q: Annotated[str, Query(min_length=2, alias="query")], near: Annotated[list[int], Query()] = []) -> dict[str, Box]:
    """Searches."""


@app.websocket("/live")
async def live(socket: WebSocket): ...


@app.get("/healthz", include_in_schema=False)
def health():
    return {"ok": True}


app.include_router(router)
