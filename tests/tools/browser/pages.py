# ruff: noqa: E501
"""A web site of awkward pages, on a free port of this machine."""

from __future__ import annotations

import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGES = {
    "/": """<title>Start</title><h1>Welcome</h1><p>Some <b>bold</b> words.</p><a href=/next>Next page</a>
        <ul><li>one<li>two</ul><table><tr><th>name<th>age<tr><td>Ann<td>7</table><p style=display:none>secret</p>""",
    "/next": "<title>Next</title><p>Here you are.</p>",
    "/form": """<title>Form</title><form action=/said><label for=n>Your name</label><input id=n name=n value=old>
        <label><input type=checkbox name=c> agree</label>
        <select name=s aria-label=Size><option>small<option>large</select>
        <select multiple aria-label=Many><option>a<option>b<option>c</select>
        <input type=date aria-label=Day><button type=button disabled>No</button><button>Send</button></form>
        <p id=keys></p><script>n.onkeydown = e => keys.textContent += e.key + ' '</script>""",
    "/covered": """<title>Covered</title><button id=b onclick="document.title='clicked'">Under</button>
        <div role=dialog aria-label=Cookies style="position:fixed;inset:0;background:#ccc">We use cookies
        <button onclick="this.parentNode.remove()">Accept</button></div>""",
    "/halfcovered": """<title>Half</title><button onclick="document.title='clicked'" style="width:300px;height:40px">Wide
        </button><div style="position:absolute;left:60px;top:0;width:200px;height:80px;background:#ccc">over</div>""",
    "/dialogs": """<title>Dialogs</title><button onclick="alert('Hello')">Alert</button>
        <button onclick="document.title = confirm('Sure?')">Confirm</button>
        <button onclick="document.title = 'got ' + prompt('Who?')">Prompt</button>""",
    "/popup": "<title>Opener</title><button onclick=\"window.open('/next')\">Open</button><a href=/next target=_blank>Too</a>",
    "/many": "<title>Many</title><button onclick=\"for (let i = 0; i < 20; i++) window.open('/next')\">Open</button>",
    "/hang": "<title>Hang</title><button onclick='for (;;);'>Hang</button>",
    "/busy": "<title>Busy</title><p id=p>0</p><script>setInterval(() => p.textContent++, 5)</script><button>B</button>",
    "/later": """<title>Later</title><button onclick="fetch('/slow').then(r => r.text()).then(t => p.textContent = t)">
        Go</button><p id=p>nothing</p>""",
    "/tall": "<title>Tall</title><p>top</p><div style=height:3000px></div><button onclick=\"document.title='low'\">Low</button>",
    "/box": """<title>Box</title><div style="height:100px;overflow:auto"><button>In</button><div style=height:900px></div>
        <p>end</p></div>""",
    "/frame": "<title>Frame</title><p>outer</p><iframe src=/inner style='width:400px;height:200px'></iframe>",
    "/inner": "<button onclick=\"parent.document.title='inner clicked'\">Inner</button>",
    "/shadow": """<title>Shadow</title><div id=h></div><script>h.attachShadow({mode: 'open'}).innerHTML =
        "<button onclick=\\"document.title='shadow clicked'\\">Deep</button>"</script>""",
    "/hostile": """<title>Hostile</title><p>text</p><button>Ok</button><script>
        Array.prototype.map = Object.fromEntries = JSON.stringify = () => { throw 1 };
        Map.prototype.get = WeakMap.prototype.get = () => 'x'; document.elementFromPoint = () => null;
        window.agentrl = {view: () => 'owned'}; Object.defineProperty(document, 'title', {get: () => 'lie'})</script>""",
    "/stubborn": """<title>Stubborn</title><script>addEventListener('pagehide', () => {
        localStorage.x = 'late'; document.cookie = 'c=late'; })</script>""",
    "/store": """<title>Store</title><p id=p></p><script>p.textContent = 'kept: ' + (localStorage.x ?? '') +
        document.cookie; localStorage.x = 'local'; document.cookie = 'c=cookie'</script>""",
    "/save": "<title>Save</title><a href='data:application/octet-stream,xyz' download=x.bin>Save</a>",
    "/hover": """<title>Hover</title><style>#m {visibility:hidden} button:hover + #m {visibility:visible}</style>
        <button>Menu</button><a id=m href=/next>Item</a>""",
    "/edit": "<title>Edit</title><div contenteditable aria-label=Notes>old</div>",
    "/plain": "<title>Plain</title><div><span id=a>alpha</span> <span>beta</span><svg width=40 height=40><circle r=9 cx=20 cy=20 fill=red></svg></div>",
}  # fmt: skip


class Site(ThreadingHTTPServer):
    """``with Site() as site: site.origin``; ``asked`` holds the paths that were asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.redirect = ""  # where /away leads to
        self.release = threading.Event()  # /slow and /endless answer, or go on, until then
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(self.path)
        if path == "/away":
            self.send_response(302)
            self.send_header("Location", self.server.redirect)
            self.end_headers()
        elif path == "/endless":
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>Endless</title><p>begun</p><button>B</button>")
            with contextlib.suppress(OSError):
                while not self.server.release.wait(0.05):
                    self.wfile.write(b" " * 64)
        elif path == "/slow":
            time.sleep(0.3)
            self._say("arrived")
        elif path == "/said":
            self._say(f"<title>Said</title><p>{self.path.partition('?')[2]}</p>")
        elif path in PAGES:
            self._say(PAGES[path])
        else:
            self.send_error(404)

    def _say(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
