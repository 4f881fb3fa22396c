from fastapi import APIRouter

router = APIRouter()


@router.get("/ready")
def ready() -> dict[str, bool]:
    """Whether quotes can be made."""
    return {"ready": True}
