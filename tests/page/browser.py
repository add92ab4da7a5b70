"""Chromium without a window, driven over the DevTools protocol through two pipes.

A Browser is one process with a profile of its own, a Page one tab with a context (storage, permissions)
of its own. A page remembers what it wrote to its console, which requests it made and what it threw.
Nothing here but the standard library.
"""
import base64
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time

ANSWER_S = 60
# For what must happen: never waited for unless something is broken.
WAIT_S = 60
KEYS = {
    "Tab": ("Tab", 9, ""), "Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, ""),
    "ArrowDown": ("ArrowDown", 40, ""), " ": ("Space", 32, " "),
}


class BrowserError(Exception):
    """The browser refused a command, or a script in the page threw."""


class Browser:
    def __init__(self, log_path):
        self.profile = tempfile.mkdtemp(prefix="tidegate-page-")
        command_r, command_w = os.pipe()
        answer_r, answer_w = os.pipe()
        arguments = [
            "chromium", "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={self.profile}",
            "--no-first-run", "--no-default-browser-check", "--disable-gpu", "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-extensions", "--disable-default-apps", "--mute-audio", "--lang=en-GB",
        ]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")  # Chromium's own does not run as root.
        log = open(log_path, "ab")
        # The protocol is spoken on descriptors 3 and 4.
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{command_r} 4>&{answer_w}', "bash"]
            + arguments,
            pass_fds=(command_r, answer_w), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True)
        log.close()
        os.close(command_r)
        os.close(answer_w)
        self._out = os.fdopen(command_w, "wb", buffering=0)
        self._in = os.fdopen(answer_r, "rb")
        self._lock = threading.Lock()
        self._next = 0
        self._answers = {}
        self._listeners = {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        rest = b""
        while True:
            data = self._in.read1(1 << 16)
            if not data:
                break
            *messages, rest = (rest + data).split(b"\0")
            for message in messages:
                self._dispatch(json.loads(message))
        for waiting in list(self._answers.values()):
            waiting.put({"error": {"message": "the browser ended"}})

    def _dispatch(self, message):
        if "id" in message:
            self._answers.pop(message["id"]).put(message)
            return
        listener = self._listeners.get(message.get("sessionId"))
        if listener:
            listener(message["method"], message["params"])

    def call(self, method, session=None, **params):
        waiting = queue.Queue()
        with self._lock:
            self._next += 1
            message = {"id": self._next, "method": method, "params": params}
            if session:
                message["sessionId"] = session
            self._answers[self._next] = waiting
            self._out.write(json.dumps(message).encode() + b"\0")
        try:
            answer = waiting.get(timeout=ANSWER_S)
        except queue.Empty:
            raise BrowserError(f"{method}: no answer within {ANSWER_S} s") from None
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def listen(self, session, listener):
        self._listeners[session] = listener

    def page(self, **options):
        return Page(self, **options)

    def close(self):
        """Ends it with all of its processes."""
        try:
            self.call("Browser.close")
            self.process.wait(10)
        except (BrowserError, subprocess.TimeoutExpired, OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)


class Page:
    """One tab. `width` and `height` in CSS pixels; `media` has features such as prefers-color-scheme."""

    def __init__(self, browser, width=1440, height=900, mobile=False, language=None, **media):
        self._browser = browser
        self._context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=self._context)
        self._session = browser.call("Target.attachToTarget", targetId=target["targetId"],
                                     flatten=True)["sessionId"]
        self._closed = False
        self.complaints = []  # of the console, the policy, and what was thrown
        self.requests = []
        browser.listen(self._session, self._hear)
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            self.call(f"{domain}.enable")
        self.call("Page.bringToFront")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.resize(width, height, mobile)
        if language:
            self.call("Emulation.setLocaleOverride", locale=language)
            self.call("Page.addScriptToEvaluateOnNewDocument", source=(
                f"Object.defineProperty(navigator, 'language', {{get: () => {json.dumps(language)}}})"))
        self.media(**media)

    def _hear(self, method, params):
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:600])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(params["args"])[:600])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"])

    def call(self, method, **params):
        return self._browser.call(method, self._session, **params)

    def resize(self, width, height, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if mobile else 1, mobile=mobile)

    def media(self, **features):
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": name.replace("_", "-"), "value": value} for name, value in features.items()])

    def open(self, address):
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script):
        """The value of an expression, which may be a promise."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def until(self, condition, seconds=WAIT_S):
        """Waits until the expression is true."""
        end = time.monotonic() + seconds
        while True:
            try:
                if self.run(f"!!({condition})"):
                    return
            except BrowserError as error:  # the page is just being replaced
                if time.monotonic() > end:
                    raise
                if "context" not in str(error) and "TypeError" not in str(error):
                    raise
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {condition}")
            time.sleep(0.05)

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def value(self, name):
        """What the figure with this id is exactly, an integer."""
        return int(self.run(f"document.getElementById({json.dumps(name)}).dataset.value"))

    def visible(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)})?.checkVisibility() ?? false")

    def click(self, selector):
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def press(self, key, shift=False):
        code, number, words = KEYS[key]
        common = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown" if words else "rawKeyDown", text=words, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, words):
        self.call("Input.insertText", text=words)

    def shoot(self, path, whole=False):
        """A picture, of the window or of the whole page."""
        size = {}
        if whole:
            content = self.call("Page.getLayoutMetrics")["cssContentSize"]
            size = {"clip": {"x": 0, "y": 0, "width": content["width"], "height": content["height"], "scale": 1},
                    "captureBeyondViewport": True}
        picture = self.call("Page.captureScreenshot", format="png", **size)
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture["data"]))

    def close(self):
        if self._closed:
            return
        self._closed = True
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)
