from dataclasses import dataclass

from fastapi import APIRouter, Body

router = APIRouter(prefix="/users", tags=["users"])


@dataclass
class User:
    name: str
    age: int | None = None


@router.get("/me")
def me() -> User: ...


@router.api_route("/{name}", methods=["POST", "PATCH"])
def change(name: str, user: User, reason: str = Body(default="none")) -> User: ...
