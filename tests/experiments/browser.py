"""A headless chromium behind Debian's chromedriver: just what the page's test needs of WebDriver.

Loopback only, everything in a folder of its own, and every process started here is ended.
"""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of WebDriver's element references
TAB, ENTER, RIGHT, BACKSPACE = "\ue004", "\ue007", "\ue014", "\ue003"


class Browser:
    """A headless chromium behind chromedriver: just what this test needs of WebDriver."""

    def __init__(self, folder):
        for program in ("chromedriver", "chromium"):
            if not shutil.which(program):
                sys.exit(f"report_page: expected {program}, found none: "
                         "scripts/setup_debian.sh --test installs chromium and chromium-driver")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # Its own session, so that whatever it starts can be ended with it.
        self.driver = subprocess.Popen([shutil.which("chromedriver"), f"--port={self.port}"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       start_new_session=True)
        self.profile = str(folder / "profile")
        self.session = None
        self.wait_for_driver()
        arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                     f"--user-data-dir={self.profile}", "--window-size=1280,1000",
                     "--disable-background-networking", "--no-first-run"]
        options = {"args": arguments, "binary": shutil.which("chromium")}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options,
                  "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        answer = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = answer["sessionId"]

    def wait_for_driver(self):
        end = time.monotonic() + 20
        while True:
            try:
                if self.call("GET", "/status")["ready"]:
                    return
            except OSError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        text = json.dumps({} if body is None else body) if method == "POST" else None
        connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"{path}: {answer['error']}: {answer.get('message', '')[:300]}")
        return answer

    def post(self, path, body=None):
        return self.call("POST", f"/session/{self.session}{path}", body)

    def open(self, path):
        self.post("/url", {"url": path.as_uri()})

    def run(self, script, *arguments):
        return self.post("/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector):
        return self.post("/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.post(f"/element/{self.find(selector)}/click")

    def type(self, selector, text):
        element = self.find(selector)
        self.post(f"/element/{element}/clear")
        self.post(f"/element/{element}/value", {"text": text})

    def keys(self, *keys):
        """Presses keys one after the other."""
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.post("/actions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})

    def tool(self, command, **parameters):
        return self.post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def width(self, pixels):
        self.tool("Emulation.setDeviceMetricsOverride", width=pixels, height=900,
                  deviceScaleFactor=1, mobile=False)

    def color_scheme(self, name):
        self.tool("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": name}])

    def log(self, kind):
        return self.post("/se/log", {"type": kind})

    def close(self):
        try:
            if self.session:
                self.call("DELETE", f"/session/{self.session}")
        except (OSError, RuntimeError):
            pass
        for pid in self.own_processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.driver.wait()

    def own_processes(self):
        """The driver, and any browser that still uses the profile folder made here."""
        out = [self.driver.pid]
        for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if self.profile.encode() in entry.read_bytes():
                    out.append(int(entry.parent.name))
            except OSError:
                pass
        return out
