
class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A token is for KEA alone, and KEA sends nobody elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Client:
    """Calls the service. It has no state, and can be used by several threads at once."""

    def __init__(
        self,
        server: str = SERVER,
        token: str | None = None,
        timeout: float = 30.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Without a `token` it is that of the variable KEA_TOKEN, if there is one. `timeout` is in seconds.

        Where KEA cannot be reached, or does not answer in that time, calls raise what urllib does: an OSError.
        """
        self._base = f"{server.rstrip('/')}/api/v1/k8c/services/{SERVICE}"
        self._token = token or os.environ.get("KEA_TOKEN")
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_NoRedirects, urllib.request.HTTPSHandler(context=context))

    def _call(self, function: str, inputs: dict[str, Any]) -> Any:
        sent = {name: value for name, value in inputs.items() if not isinstance(value, Absent)}
        query = f"?{urllib.parse.urlencode({'version': VERSION})}" if VERSION else ""
        request = urllib.request.Request(
            f"{self._base}/{urllib.parse.quote(function)}{query}",
            data=json.dumps({"inputs": sent}, allow_nan=False).encode(),
            headers={"Content-Type": "application/json"},
        )
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return json.load(answer)["predictions"]
        except urllib.error.HTTPError as error:
            with error:
                raise _told(error) from None

