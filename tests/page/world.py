"""What the page is tested against: a real daemon, and the real programs that operate and load it."""
import json
import os
import shutil
import signal
import subprocess
import tempfile

READY_S = 30


class Daemon:
    """A tidegated on ports of its own; started again it has the same ones, and the same directory."""

    def __init__(self, build, *options, token=None):
        self.build = build
        self.environment = {**os.environ, **({"TIDEGATE_TOKEN": token} if token else {})}
        self.options = list(options)
        self.root = tempfile.mkdtemp(prefix="tidegate-page-")
        self.log_path = os.path.join(self.root, "log")
        self.native = self.admin = "127.0.0.1:0"
        self.process = None
        self.start()

    def start(self):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [f"{self.build}/tidegated", "--data-dir", f"{self.root}/data", "--threads", "1",
             "--listen", self.native, "--admin-listen", self.admin, *self.options],
            stdout=subprocess.PIPE, stderr=log, text=True)
        log.close()
        ready = self.process.stdout.readline()  # a daemon that cannot start ends, and so does the line
        words = ready.split()
        if not ready.startswith("tidegated ready on "):
            raise AssertionError(f"the daemon does not start: {open(self.log_path).read()[-2000:]}")
        self.native = words[3]
        self.admin = next(word[6:] for word in words if word.startswith("admin="))
        self.url = f"http://{self.admin}/"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(READY_S)
        self.process.stdout.close()
        assert status == 0, f"the daemon ended with status {status}"

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    # --- what operators and buyers do ---

    def ctl(self, *words, given=None):
        """Runs tidegatectl and returns the last JSON object that it printed."""
        done = subprocess.run([f"{self.build}/tidegatectl", "--server", self.native, "--json", *map(str, words)],
                              capture_output=True, text=True, input=given, timeout=60,
                              env=self.environment)
        assert done.returncode == 0, f"tidegatectl {words}: {done.stderr}"
        lines = done.stdout.splitlines()
        return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None

    def sale(self, sale_id, items, **fields):
        """Creates a sale; items are (sku, price in minor units, units)."""
        sale = {
            "sale_id": sale_id, "kind": "seckill", "name": f"Sale number {sale_id}", "currency": "CNY",
            "starts_at": "now", "ends_at": "+2h",
            "items": [{"sku": sku, "list_price_minor": price, "sale_price_minor": price,
                       "stock_units": units, "per_user_limit": 0, "per_order_max": 0}
                      for sku, price, units in items],
        }
        sale.update(fields)
        self.ctl("sale", "create", "-", given=json.dumps(sale))

    def load(self, *options):
        """Starts tidegate-load; its audit decides its status."""
        return subprocess.Popen([f"{self.build}/tidegate-load", "--server", self.native, "--quiet", *map(str, options)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def items(self, sale_id):
        """The books of each item, by SKU, as the engine tells them."""
        shown = self.ctl("sale", "show", sale_id)
        return {item["sku"]: item for item in shown["items"]}


def make_token(build, file, role):
    """A new token with this role; its hash stands in the file."""
    return subprocess.run([f"{build}/tidegatectl", "token", "create", "--tenant", "shop", "--role", role, "--file", file],
                          check=True, capture_output=True, text=True).stdout.strip()
