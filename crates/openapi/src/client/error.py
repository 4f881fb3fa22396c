class KeaError(Exception):
    """KEA refused a call, or the model failed."""

    def __init__(self, status: int, problem: dict[str, Any], retry_after: float | None) -> None:
        super().__init__(problem.get("detail") or f"KEA answered {status}")
        self.status = status
        self.detail: str = str(self)
        # What is wrong with the inputs: `pointer`, `expected`, `received` and `detail` of each.
        self.errors: list[dict[str, Any]] = problem.get("errors") or []
        # The id by which KEA's log and audit trail know the call.
        self.request_id: str = problem.get("instance", "")
        # After how many seconds another attempt makes sense, where KEA says so.
        self.retry_after = retry_after


class Absent:
    """Stands for an input that is not sent."""


ABSENT = Absent()


def _told(error: urllib.error.HTTPError) -> KeaError:
    try:
        problem = json.load(error)
    except ValueError:
        problem = {}
    retry_after = error.headers.get("Retry-After", "")
    wait = float(retry_after) if retry_after.isdigit() else None
    return KeaError(error.code, problem if isinstance(problem, dict) else {}, wait)

