"""A custom runtime: a plain HTTP server that says what reached it."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Answers everything with what it saw."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Echo, or do what the path says."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/exit":
            os._exit(1)
        if self.path.startswith("/sleep/"):
            time.sleep(float(self.path.rpartition("/")[2]))
        if self.path.startswith("/until/"):
            while not Path(self.path.removeprefix("/until")).exists():
                time.sleep(0.02)
        seen = {
            "method": self.command,
            "path": self.path,
            "headers": dict(self.headers.items()),
            "body": body.decode(),
            "pid": os.getpid(),
        }
        print(f"SERVED {self.command} {self.path}", flush=True)
        content = json.dumps(seen).encode()
        self.send_response(500 if self.path == "/fail" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815 - the server's own names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
        """Be silent."""


ThreadingHTTPServer(("0.0.0.0", int(os.environ["FC_CUSTOM_LISTEN_PORT"])), Handler).serve_forever()  # noqa: S104 - where the platform asks
