"""A web service that does what its environment and its callers say; it is packed with `kea build --command`."""

import http.server
import json
import os
import sys

if words := os.environ.get("END"):
    sys.exit(words)
kept = b"x" * int(os.environ.get("EAT", "0"))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        print(f"asked for {self.path}", flush=True)
        if self.path.endswith("/end"):
            print("told to end", flush=True)
            os._exit(3)
        told = {"path": self.path, "body": body, "token": self.headers.get("Authorization")}
        content = json.dumps(told | {"greeting": os.environ.get("GREETING")}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_: object) -> None:
        pass


http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
