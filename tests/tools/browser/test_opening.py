"""Many browsers that are opened at once, in real Chromium."""

import asyncio
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytestmark = [pytest.mark.web, pytest.mark.timeout(120)]


class Slow(BaseHTTPRequestHandler):
    """Answers late, and counts who waits."""

    lock, waiting, most = threading.Lock(), 0, 0

    def do_GET(self):
        with Slow.lock:
            Slow.waiting += 1
            Slow.most = max(Slow.most, Slow.waiting)
        time.sleep(0.3)
        with Slow.lock:
            Slow.waiting -= 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<p>Here.")

    def log_message(self, *_):
        pass


def test_of_many_that_are_opened_at_once_few_load_at_a_time(chromium):
    from agentrl.tools.browser import Browser

    few = 2 * os.cpu_count()
    browsers = [Browser() for _ in range(2 * few)]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_address[1]}"

    async def all_of_them():
        return await asyncio.gather(*(b.open(origin + "/", [origin]) for b in browsers))

    try:
        assert all("Here." in text for text in asyncio.run(all_of_them()))
    finally:
        for browser in browsers:
            browser.close()
        server.shutdown()
        server.server_close()
    assert 1 < Slow.most <= few
