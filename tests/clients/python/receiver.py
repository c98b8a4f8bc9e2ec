"""A subscriber on a loopback port of its own."""

import queue
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE = 60


@dataclass
class Request:
    headers: dict
    body: bytes


class Receiver:
    """Keeps what arrives until it is asked for, and answers with `status`."""

    def __init__(self):
        self.status = 200
        self._requests = queue.Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver._requests.put(Request(headers, body))
                self.send_response(receiver.status)
                self.send_header("content-length", str(len(b"received")))
                self.end_headers()
                self.wfile.write(b"received")

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()

    def next(self):
        try:
            return self._requests.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError("waited in vain for a delivery") from None

    def forget(self):
        while not self._requests.empty():
            self._requests.get()
