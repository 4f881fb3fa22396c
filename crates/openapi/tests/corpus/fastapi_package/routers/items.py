from fastapi import APIRouter, File, Form, UploadFile
from pydantic import BaseModel

router = APIRouter(prefix="/items")


class Item(BaseModel):
    name: str
    price: float


@router.put("/{item_id:path}")
def put_item(item_id: str, item: Item) -> Item:
    """Puts an item there."""
    return item


@router.post("/{item_id}/photo", status_code=204)
async def photo(item_id: str, image: UploadFile = File(...), caption: str = Form("")):
    """Keeps a photo."""
