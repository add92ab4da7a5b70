#!/usr/bin/env python3
"""The live page in a real browser: a daemon sells, and the page must show what the engine holds.

usage: test_page.py BUILD AXE [NAME...]     (AXE: axe.min.js; NAME: only tests with it in their name)

Each test is a function here; pictures go to BUILD/page. The last line is "N passed, N failed".
"""
import json
import os
import re
import sys
import tempfile
import traceback

from browser import Browser
from world import Daemon, make_token

BUILD = sys.argv[1]
AXE = sys.argv[2]
PICTURES = os.path.join(BUILD, "page")
WEB = os.path.join(os.path.dirname(__file__), "../../server/web")

SIZES = {
    "phone": dict(width=360, height=780, mobile=True),
    "desktop": dict(width=1440, height=900),
    "wall": dict(width=3840, height=2160),
}
CHOSEN = "document.getElementById('sale-name').dataset.value"
STATE = "document.getElementById('state').dataset.state"


class World:
    """The daemon, the browser, and what was made for one test."""

    def __init__(self):
        self.browser = Browser(os.path.join(PICTURES, "chromium.log"))
        self.daemon = Daemon(BUILD)
        self.pages = []
        self.daemons = []
        self.stocked = False

    def page(self, address="", daemon=None, **options):
        """A page that shows a snapshot."""
        page = self.bare_page(address, daemon, **options)
        page.until("document.getElementById('board').dataset.time")
        return page

    def bare_page(self, address="", daemon=None, **options):
        page = self.browser.page(**options)
        page.home = (daemon or self.daemon).url
        page.expected = []  # patterns of what its console may complain about
        self.pages.append(page)
        page.open(page.home + address)
        return page

    def stocked_page(self, address="", **options):
        """A page that shows a sale of nine items, three of them all but sold out."""
        if not self.stocked:
            self.stocked = True
            price = 123456700
            self.daemon.sale(18, [(f"A01-00{n}-XXL-GREEN-MELANGE", price, 40 if n < 3 else 1000 + n) for n in range(9)],
                             name="A sale with a name that is as long as names of sales can become in practice")
            for n, units in enumerate((39, 40, 39)):
                order = self.daemon.ctl("order", "place", 18, f"A01-00{n}-XXL-GREEN-MELANGE:{units}", "--user", n + 1)
            self.daemon.ctl("order", "pay", order["order_id"], "--payment-id", "stock", "--amount", 39 * price)
        page = self.page("?sale=18" + address, **options)
        shows_sale(page, 18)
        page.until("document.querySelectorAll('#items tr').length === 9 && document.querySelector('#alerts li')"
                   f" && document.getElementById('gmv').dataset.value === '{39 * 123456700}'")
        return page

    def another_daemon(self, *options, token=None):
        self.daemons.append(Daemon(BUILD, *options, token=token))
        return self.daemons[-1]

    def end_test(self):
        """What holds for every page of every test: nothing in the console, nothing from elsewhere."""
        pages, self.pages = self.pages, []
        daemons, self.daemons = self.daemons, []
        for page in pages:
            page.close()
        for daemon in daemons:
            daemon.end()
        for page in pages:
            for complaint in page.complaints:
                assert any(re.search(pattern, complaint) for pattern in page.expected), complaint
            for request in page.requests:
                assert request["url"].startswith(page.home), f"a request elsewhere: {request['url']}"

    def end(self):
        self.browser.close()
        self.daemon.end()


def shows_sale(page, sale_id):
    page.until(f"{CHOSEN} === '{sale_id}'")


def equals(page, name, wanted):
    """Waits until the figure is exactly this."""
    page.until(f"document.getElementById('{name}').dataset.value === '{wanted}'")


def spoken(page, words):
    page.until(f"document.getElementById('say').textContent.includes({json.dumps(words)})")


# --- texts ---


def test_languages_have_the_same_keys_and_places(world):
    page = world.page()
    strings = page.run("import('/assets/strings.js').then((module) => module.strings)")
    assert set(strings) == {"en", "zh"}, list(strings)
    assert set(strings["en"]) == set(strings["zh"]), set(strings["en"]) ^ set(strings["zh"])
    for key, words in strings["en"].items():
        places = [sorted(re.findall(r"\{\w+\}", text)) for text in (words, strings["zh"][key])]
        assert places[0] == places[1], f"{key}: {places}"
        assert words and strings["zh"][key], key


def test_every_text_that_is_asked_for_exists(world):
    page = world.page()
    keys = set(page.run("import('/assets/strings.js').then((module) => Object.keys(module.strings.en))"))
    html = open(os.path.join(WEB, "index.html")).read()
    asked = set(re.findall(r'data-t(?:-label)?="(\w+)"', html))
    for name in os.listdir(WEB):
        if name.endswith(".js"):
            asked |= set(re.findall(r"\btext\('(\w+)'", open(os.path.join(WEB, name)).read()))
    assert len(asked) > 50 and asked <= keys, asked - keys
    # The verdicts that orders can get, by the contract.
    proto = open(os.path.join(WEB, "../../proto/tidegate/v1/tidegate.proto")).read()
    verdicts = set(re.findall(r"^  VERDICT_(\w+) = ", proto, re.M))
    assert {key[8:] for key in keys if key.startswith("verdict_")} - {"OTHER"} <= verdicts


def test_chinese_for_a_chinese_browser_and_a_button_for_the_other(world):
    world.daemon.sale(20, [("LANG-1", 9900, 50)])
    page = world.page("?sale=20", language="zh-CN")
    shows_sale(page, 20)
    assert page.run("document.documentElement.lang") == "zh-CN"
    assert "剩余库存" in page.text("main") and "Units left" not in page.text("body")
    assert page.run("document.getElementById('language').textContent") == "English"
    page.shoot(f"{PICTURES}/desktop-zh.png")
    page.click("#language")
    assert page.run("document.documentElement.lang") == "en-GB"
    assert "Units left" in page.text("main") and "剩余库存" not in page.text("body")
    page.open(page.home + "?sale=20")  # it is remembered
    page.until("document.getElementById('board').dataset.time")
    assert page.run("document.documentElement.lang") == "en-GB"
    for words in ("undefined", "NaN", "[object"):
        assert words not in page.text("body"), words


def test_numbers_and_money_are_written_as_the_language_does(world):
    page = world.page()
    written = page.run("""import('/assets/words.js').then((words) => {
      const all = {};
      for (const language of ['en', 'zh']) {
        words.chooseLanguage(language);
        all[language] = [words.money(1234567, 'CNY'), words.money(1234567, 'JPY'), words.money(1234567, 'KWD'),
          words.count(1234567), words.share(1, 3000), words.share(2999, 3000), words.share(0, 10),
          words.share(1, 0), words.duration(850), words.duration(1234), words.duration(2.5e6), words.duration(null),
          words.shortCount(4500000), words.shortCount(60000)];
      }
      return all;
    })""")
    plain = {name: [text.replace("\u00a0", " ") for text in texts] for name, texts in written.items()}
    assert plain["en"] == ["CN¥12,345.67", "JP¥1,234,567", "KWD 1,234.567", "1,234,567", "0.1%", "99.9%", "0%",
                           "—", "850 µs", "1.23 ms", "2.5 s", "—", "4.5M", "60K"], plain["en"]
    assert plain["zh"] == ["¥12,345.67", "JP¥1,234,567", "KWD 1,234.567", "1,234,567", "0.1%", "99.9%", "0%",
                           "—", "850 µs", "1.23 ms", "2.5 s", "—", "450万", "6万"], plain["zh"]


def test_what_a_sale_is_called_is_text(world):
    name = '<img src=x onerror="document.title=1">&amp;\u202e'
    world.daemon.sale(21, [("<b>SKU</b>", 100, 5)], name=name)
    page = world.page("?sale=21")
    shows_sale(page, 21)
    assert page.run("document.getElementById('sale-name').textContent") == name
    assert page.run("document.querySelectorAll('main img, main b').length") == 0
    assert page.run("document.querySelector('#items .sku').textContent") == "<b>SKU</b>"


# --- what the engine holds ---


def books_agree(page, daemon, sale_id):
    """Each figure of the sale is the engine's own."""
    items = daemon.items(sale_id)
    for name, field in (("units-left", "available_units"), ("units-reserved", "reserved_units"),
                        ("units-sold", "sold_units")):
        equals(page, name, sum(item[field] for item in items.values()))
    shown = page.run("""Object.fromEntries([...document.querySelectorAll('#items tr')].map((row) => [row.dataset.key,
      [...row.querySelectorAll('td')].map((cell) => Number(cell.dataset.value))]))""")
    wanted = {sku: [item["sale_price_minor"], item["available_units"], item["reserved_units"], item["sold_units"]]
              for sku, item in items.items()}
    assert shown == wanted, f"{shown} is not {wanted}"


WATCH = """
  window.seen = {left: [], accepted: [], waves: []};
  new MutationObserver(() => {
    seen.left.push(Number(document.getElementById('units-left').dataset.value));
    seen.accepted.push(Number(document.getElementById('accepted-rate').dataset.value));
    seen.waves.push(Number(document.getElementById('water').style.getPropertyValue('--share')));
  }).observe(document.getElementById('board'), {attributes: true, attributeFilter: ['data-time']});
"""


def drawn(page, chart):
    """How many pixels of a chart are neither empty nor grey."""
    return page.run(f"""(() => {{
      const canvas = document.getElementById('{chart}-chart');
      const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      let n = 0;
      for (let i = 0; i < data.length; i += 4)
        if (data[i + 3] > 0 && Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 60) n++;
      return n;
    }})()""")


def test_a_sale_drains_and_the_page_shows_what_the_engine_holds(world):
    items = [("A01-001-M-BL", 9900, 6000), ("A01-001-L-BL", 9900, 4000), ("B11-014-41-WH", 32900, 1500),
             ("C07-330-XL-GN", 8900, 900), ("TEA-100G", 4900, 300)]
    world.daemon.sale(10, items, name="Singles Day, ten o'clock")
    page = world.page("?sale=10")
    shows_sale(page, 10)
    equals(page, "units-left", 12700)
    page.run(WATCH)
    load = world.daemon.load("--sale", 10, "--rate", 2500, "--attempts", 15000, "--users", 100000, "--connections", 8)
    page.until("seen.left.at(-1) < 9000")
    page.until("document.querySelectorAll('#verdicts tr').length > 0")
    page.shoot(f"{PICTURES}/desktop-light.png")
    assert load.wait(120) == 0, load.stderr.read()
    load.stderr.close()

    books_agree(page, world.daemon, 10)
    seen = page.run("seen")
    assert len(set(seen["left"])) >= 5, f"it did not drain before our eyes: {seen['left']}"
    assert seen["left"] == sorted(seen["left"], reverse=True), "stock that came back"
    assert max(seen["accepted"]) > 500, max(seen["accepted"])
    assert seen["waves"] == sorted(seen["waves"], reverse=True) and seen["waves"][-1] < 0.9

    answers = world.daemon.ctl("stats")["answers"]
    assert answers["ACCEPTED"] > 3000
    for verdict, count in answers.items():
        page.until(f"document.querySelector('#verdicts [data-key={verdict}] td:last-child').dataset.value === '{count}'")
    assert page.run("document.querySelectorAll('#verdicts tr').length") == len(answers)
    reserved = sum(item["reserved_units"] + item["sold_units"] for item in world.daemon.items(10).values())
    assert page.run("Number(document.querySelector('#funnel [data-key=reserved] .digits').dataset.value)") > 0
    assert page.value("units-left") + reserved == 12700

    for chart in ("rates", "latency", "stock"):
        assert drawn(page, chart) > 100, f"the chart of {chart} is empty"
        said = page.run(f"document.getElementById('{chart}-chart').getAttribute('aria-label')")
        assert re.search(r"\d", said), said
        page.run(f"document.getElementById('{chart}-table').closest('details').open = true")
        page.until(f"document.querySelectorAll('#{chart}-table tbody tr').length >= 3")
    left = page.run("document.querySelector('#stock-table tbody td').textContent")
    assert left == f"{page.value('units-left'):,}", left
    assert re.search(r"\d (µs|ms)", page.text("#commit-p99")), page.text("#commit-p99")


def test_a_sold_out_item_says_so_and_is_an_alert(world):
    world.daemon.sale(11, [("LAST-UNITS", 500, 20), ("PLENTY", 500, 20000)])
    page = world.page("?sale=11")
    shows_sale(page, 11)
    page.until("!document.querySelector('#alerts [data-key*=LAST-UNITS]')")
    for user in range(20):
        world.daemon.ctl("order", "place", 11, "LAST-UNITS", "--user", user + 1)
    alert = "#alerts [data-name=low_stock][data-key*='11 LAST-UNITS']"
    page.until(f"document.querySelector(\"{alert}\")?.dataset.severity === 'critical'")
    assert "LAST-UNITS: 0 left" in page.text(alert), page.text(alert)
    assert "Sold out" in page.text("#items [data-key=LAST-UNITS]")
    spoken(page, "LAST-UNITS")
    assert page.visible("#alerts-none") is False
    world.daemon.ctl("stock", "adjust", 11, "LAST-UNITS", "--delta", 100, "--reason", "refill")
    page.until(f"!document.querySelector(\"{alert}\")")
    books_agree(page, world.daemon, 11)


def test_the_countdown_runs_to_the_opening_and_then_to_the_end(world):
    world.daemon.sale(12, [("SOON", 100, 10)], starts_at="+10s", ends_at="+2h")
    page = world.page("?sale=12")
    shows_sale(page, 12)
    assert page.run(STATE) == "SCHEDULED" and page.text("#state") == "Scheduled"
    assert page.text("#clock-label") == "Opens in"
    first = page.value("clock")
    assert 0 < first <= 10, first
    server_ms = world.daemon.ctl("time")["server_time_ms"]
    starts_ms = world.daemon.ctl("sale", "show", 12)["starts_at_ms"]
    assert abs((starts_ms - server_ms) / 1000 - page.value("clock")) < 2
    page.until(f"Number(document.getElementById('clock').dataset.value) < {first}")
    page.until(f"{STATE} === 'OPEN'")
    assert page.text("#clock-label") == "Ends in" and 7100 < page.value("clock") <= 7200
    assert page.run("document.querySelectorAll('#clock .part').length") == 3
    spoken(page, "Open")


def test_pause_resume_and_close_are_seen_and_said(world):
    world.daemon.sale(13, [("DOOR", 100, 10)])
    page = world.page("?sale=13")
    shows_sale(page, 13)
    for command, state, words in (("pause", "PAUSED", "Paused"), ("resume", "OPEN", "Open"), ("close", "CLOSED", "Closed")):
        world.daemon.ctl("sale", command, 13)
        page.until(f"{STATE} === '{state}'")
        assert page.text("#state") == words
        spoken(page, f"Sale number 13: {words}.")
        row = page.run("document.querySelector('#sales [data-key=\"13\"] .badge').dataset.state")
        assert row == state, row
    assert page.run("document.getElementById('clock').dataset.over") == "true"


def test_money_and_the_funnel_follow_an_order(world):
    world.daemon.sale(14, [("YEN", 12345, 100)], currency="JPY")
    page = world.page("?sale=14")
    shows_sale(page, 14)
    orders = [world.daemon.ctl("order", "place", 14, "YEN", "--user", user)["order_id"] for user in (1, 2, 3, 4)]
    for order in orders[:2]:
        world.daemon.ctl("order", "pay", order, "--payment-id", f"p-{order}", "--amount", 12345)
    funnel = "Number(document.querySelector('#funnel [data-key={}] .digits').dataset.value)"
    for step, wanted in (("attempts", 4), ("reserved", 4), ("paid", 2), ("confirmed", 2)):
        page.until(f"{funnel.format(step)} === {wanted}")
    equals(page, "gmv", 24690)
    equals(page, "average", 12345)
    assert page.text("#gmv") == "JP¥24,690" and page.text("#average") == "JP¥12,345"
    assert "50%" in page.text("#funnel [data-key=paid]")
    assert page.visible("#teams") is False
    books_agree(page, world.daemon, 14)


def test_teams_of_a_group_buy(world):
    rules = {"team_size": 2, "team_lifetime_s": 3600, "teams_per_user_max": 0, "new_buyers_only": False,
             "at_deadline": "fail"}
    world.daemon.sale(15, [("TEA", 4900, 100)], kind="group_buy", group_buy=rules)
    page = world.page("?sale=15")
    shows_sale(page, 15)
    assert page.visible("#teams") and page.text("#kind") == "Group-buy"
    teams = [world.daemon.ctl("team", "open", 15, "TEA", "--user", user)["order_id"] for user in (1, 2)]
    for team in teams:
        world.daemon.ctl("order", "pay", team, "--payment-id", f"c-{team}", "--amount", 4900)
    equals(page, "teams-open", 2)
    seat = world.daemon.ctl("team", "join", teams[0], "--user", 3)["order_id"]
    world.daemon.ctl("order", "pay", seat, "--payment-id", f"s-{seat}", "--amount", 4900)
    equals(page, "teams-formed", 1)
    equals(page, "teams-open", 1)
    equals(page, "teams-failed", 0)
    books_agree(page, world.daemon, 15)


# --- which sale ---


def test_sales_are_chosen_by_the_list_by_the_table_and_by_themselves(world):
    daemon = world.another_daemon()
    page = world.page("", daemon)
    assert "no sale yet" in page.text("#notice")
    daemon.sale(1, [("OLD", 100, 10)])
    shows_sale(page, 1)
    assert page.visible("#notice") is False
    daemon.sale(2, [("LATER", 100, 10)], starts_at="+1h")
    page.until("document.querySelectorAll('#sales tr').length === 2")
    assert page.run(CHOSEN) == "1", "a sale that is not open took its place"
    page.click("#sales [data-key='2'] .choose")
    shows_sale(page, 2)
    assert page.run("document.getElementById('pick').value") == "2"
    assert page.run("location.search") == "?sale=2"
    assert page.run("document.querySelector('#sales [aria-current=true]').dataset.key") == "2"
    page.run("""(() => { const pick = document.getElementById('pick'); pick.value = '';
      pick.dispatchEvent(new Event('change')); })()""")
    shows_sale(page, 1)
    assert page.run("location.search") == ""
    daemon.ctl("sale", "close", 1)  # what is left is the one to come
    shows_sale(page, 2)


def test_a_sale_that_is_not_there(world):
    world.daemon.sale(16, [("HERE", 100, 10)])
    page = world.page("?sale=4711")
    page.expected = [r"status of 404"]
    page.until("document.getElementById('sale-name').dataset.value")
    assert "There is no sale 4711" in page.text("#notice")
    assert page.run("location.search") == ""


def test_a_sale_with_many_items_shows_the_first_twenty(world):
    world.daemon.sale(17, [(f"SKU-{n:03}", 100 + n, 10 + n) for n in range(64)])
    page = world.page("?sale=17")
    shows_sale(page, 17)
    for _ in range(3):
        world.daemon.ctl("order", "place", 17, "SKU-050:2", "--user", 1)
    page.until("document.querySelector('#items tr:first-child').dataset.key === 'SKU-050'")
    assert page.run("document.querySelectorAll('#items tr').length") == 20
    assert "20 of 64" in page.text("#items-shown"), page.text("#items-shown")


# --- the connection ---


def test_a_restart_of_the_daemon_is_said_and_survived(world):
    daemon = world.another_daemon()
    daemon.sale(1, [("KEPT", 100, 30)])
    daemon.ctl("order", "place", 1, "KEPT", "--user", 1)
    page = world.page("?sale=1", daemon)
    page.expected = [r"ERR_CONNECTION_REFUSED", r"ERR_INCOMPLETE_CHUNKED_ENCODING", r"status of 503", r"ERR_CONNECTION_RESET"]
    equals(page, "units-left", 29)
    assert page.text("#link-text") == "Live"
    daemon.stop()
    page.until("document.getElementById('link').dataset.state === 'waiting'")
    assert re.search(r"next try in \d+ s", page.text("#link-text")), page.text("#link-text")
    assert "connection is lost" in page.text("#notice")
    assert page.value("units-left") == 29, "the last figures stay"
    assert page.run("document.body.dataset.stale") == "true"
    spoken(page, "lost")
    page.shoot(f"{PICTURES}/desktop-lost.png")
    daemon.start()
    page.until("document.getElementById('link').dataset.state === 'live'")
    daemon.ctl("order", "place", 1, "KEPT", "--user", 2)
    equals(page, "units-left", 28)
    assert page.visible("#notice") is False and page.run("document.body.dataset.stale") == "false"
    spoken(page, "again")


def test_one_viewer_too_many_waits_for_a_place(world):
    daemon = world.another_daemon("--set", "admin.streams_max=1")
    daemon.sale(1, [("SEAT", 100, 30)])
    first = world.page("?sale=1", daemon)
    second = world.bare_page("?sale=1", daemon)
    second.expected = [r"status of 503"]
    second.until("document.getElementById('notice').textContent.includes('as many viewers')")
    first.close()
    equals(second, "units-left", 30)
    assert second.visible("#notice") is False


def test_pauses_between_tries_grow_to_an_end(world):
    page = world.page()
    pauses = page.run("""import('/assets/stream.js').then(({ Stream }) => new Promise((resolve) => {
      const real = window.fetch, pauses = [];
      window.fetch = () => Promise.reject(new TypeError('no network'));
      const stream = new Stream('/api/stream', null, {
        trying() {}, live() {}, snapshot() {}, refused() {},
        waiting(ms) {
          pauses.push(ms);
          if (pauses.length < 9) return setTimeout(() => stream.hurry());
          stream.stop();
          window.fetch = real;
          resolve(pauses);
        },
      });
    }))""")
    for i, pause in enumerate(pauses):
        base = min(500 * 2 ** i, 10000)
        assert 0.79 * base <= pause <= 1.21 * base, pauses


def test_events_are_read_however_they_are_cut(world):
    page = world.page()
    got = page.run(r"""import('/assets/stream.js').then(({ Stream }) => new Promise((resolve) => {
      const real = window.fetch, got = [];
      const bytes = new TextEncoder().encode(': hello\n\nevent: snapshot\ndata: {"n":\ndata: 1,"s":"剩余"}\n\n' +
        'event: other\ndata: {"n":2}\n\nevent: snapshot\r\ndata: {"n":3}\r\n\r\nevent: snapshot\ndata: {"n":4}\n');
      window.fetch = async () => new Response(new ReadableStream({
        start(controller) {
          for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
          controller.close();
        },
      }));
      const stream = new Stream('/api/stream', null, {
        trying() {}, live() {}, refused() {}, snapshot: (object) => got.push(object),
        waiting() { stream.stop(); window.fetch = real; resolve(got); },
      });
    }))""")
    assert got == [{"n": 1, "s": "剩余"}, {"n": 3}], got  # the last one never ended


def give_token(page, token):
    page.run("document.getElementById('token').focus()")
    page.type(token)
    page.press("Enter")


def test_a_server_with_tokens_asks_for_one(world):
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "tokens")
        operate, submit, read = [make_token(BUILD, file, role) for role in ("operate", "submit", "read")]
        daemon = world.another_daemon("--set", f"security.token_file={file}", token=operate)
        daemon.sale(1, [("SECRET-STOCK", 100, 30)])
        page = world.bare_page("?sale=1", daemon)
        page.expected = [r"status of 40[13]"]
        page.until("document.getElementById('token-panel').checkVisibility()")
        assert page.run("document.activeElement.id") == "token"
        assert "SECRET-STOCK" not in page.run("document.body.textContent")
        page.shoot(f"{PICTURES}/desktop-token.png")

        give_token(page, "tg_nobody_" + 43 * "x")
        page.until("document.getElementById('token-why').textContent.includes('does not know this token')")
        give_token(page, submit)
        page.until("document.getElementById('token-why').textContent.includes('may not read')")
        assert page.visible("#board") is False

        give_token(page, read)
        shows_sale(page, 1)
        assert page.visible("#token-panel") is False and page.visible("#board")
        assert page.run("document.activeElement.id") == "main"
        kept = page.run("[JSON.stringify(sessionStorage), JSON.stringify(localStorage) + location.href + document.cookie]")
        assert read in kept[0] and read not in kept[1], kept
        sent = {request["url"]: request["headers"].get("Authorization") for request in page.requests}
        assert [url for url, header in sent.items() if header == f"Bearer {read}"] == [daemon.url + "api/stream?sale=1"]

        page.open(page.home + "?sale=1")  # the tab knows it, another one does not
        shows_sale(page, 1)
        other = world.bare_page("?sale=1", daemon)
        other.expected = page.expected
        other.until("document.getElementById('token-panel').checkVisibility()")

        page.click("#forget")
        page.until("document.getElementById('token-panel').checkVisibility()")
        assert page.run("sessionStorage.length") == 0
        assert page.visible("#forget") is False


# --- how it looks, for whoever reads it in whatever way ---


OVERLAPPING = """[...document.querySelectorAll('.panel, .top, .alerts, .split, .pair')].flatMap((box) => {
  const parts = [...box.children].filter((part) => part.checkVisibility() && !part.matches('.water'));
  const rects = parts.map((part) => part.getBoundingClientRect());
  return parts.flatMap((part, i) => parts.slice(i + 1).filter((_, k) => {
    const a = rects[i], b = rects[i + 1 + k];
    return Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  }).map((other) => [part.className || part.id, other.className || other.id]));
})"""


def fits(page, size):
    """Nothing is wider than its place, nothing lies over another, and a wall has all on one screen."""
    wide = page.run("""[...document.querySelectorAll('body, main, .panel, .top, .alerts, .digits, .wall .items td')]
      .filter((box) => box.scrollWidth > box.clientWidth + 1 && !box.matches('.tank'))
      .map((box) => box.className || box.tagName)""")
    assert wide == [], f"{size}: wider than its place: {wide}"
    assert page.run("document.documentElement.scrollWidth <= innerWidth"), size
    over = page.run(OVERLAPPING)
    assert over == [], f"{size}: one over the other: {over}"
    if size == "wall":
        assert page.run("document.documentElement.scrollHeight <= innerHeight"), "a wall does not scroll"
        cut = page.run("""[...document.querySelectorAll('.panel > *, .alerts > *')].filter((box) =>
          box.checkVisibility() && !box.matches('.water') && box.getBoundingClientRect().bottom >
          box.parentElement.getBoundingClientRect().bottom + 1).map((box) => box.outerHTML.slice(0, 200))""")
        assert cut == [], f"cut off on a wall: {cut}"
        rows = page.run("""[...document.querySelectorAll('.wall .split > .scroll')].filter((box) =>
          box.scrollHeight > box.clientHeight + 1 || box.scrollWidth > box.clientWidth + 1).length""")
        assert rows == 0, "half a row on a wall"
        assert page.run("parseFloat(getComputedStyle(document.getElementById('units-left')).fontSize)") > 150
    if size == "phone":
        small = page.run("""[...document.querySelectorAll('button, select, summary, input')]
          .filter((element) => element.checkVisibility())
          .filter((element) => Math.min(...['width', 'height'].map((side) =>
            element.getBoundingClientRect()[side])) < 24).map((element) => element.outerHTML)""")
        assert small == [], f"too small for a finger: {small}"


def test_it_fits_a_phone_a_desktop_and_a_wall(world):
    for size, options in SIZES.items():
        for theme in ("light", "dark"):
            page = world.stocked_page("&wall=1" if size == "wall" else "", prefers_color_scheme=theme, **options)
            fits(page, size)
            page.shoot(f"{PICTURES}/{size}-{theme}.png", whole=size != "wall")


def test_a_group_buy_fits_them_too(world):
    rules = {"team_size": 2, "team_lifetime_s": 3600, "teams_per_user_max": 0, "new_buyers_only": False,
             "at_deadline": "fail"}
    price = 12345678900
    world.daemon.sale(22, [("DEAR", price, 5000000)], kind="group_buy", group_buy=rules, ends_at="+40d")
    team = world.daemon.ctl("team", "open", 22, "DEAR", "--user", 1)["order_id"]
    world.daemon.ctl("order", "pay", team, "--payment-id", "dear", "--amount", price)
    for size, options in SIZES.items():
        page = world.page("?sale=22" + ("&wall=1" if size == "wall" else ""), prefers_color_scheme="dark", **options)
        shows_sale(page, 22)
        equals(page, "gmv", price)
        equals(page, "teams-open", 1)
        fits(page, size)
        page.shoot(f"{PICTURES}/group-buy-{size}.png", whole=size != "wall")


def test_the_theme_follows_the_system_until_somebody_chooses(world):
    page = world.page(prefers_color_scheme="dark")
    dark = page.run("getComputedStyle(document.body).backgroundColor")
    page.media(prefers_color_scheme="light")
    page.until("document.documentElement.dataset.theme === 'light'")
    light = page.run("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.click("#theme")
    assert page.text("#theme") == "Theme: light"
    page.click("#theme")
    assert page.text("#theme") == "Theme: dark"
    assert page.run("getComputedStyle(document.body).backgroundColor") == dark
    page.open(page.home)
    page.until("document.getElementById('board').dataset.time")
    assert page.run("getComputedStyle(document.body).backgroundColor") == dark, "it is remembered"


def test_nothing_moves_for_who_asked_for_that(world):
    page = world.page()
    assert page.run("getComputedStyle(document.querySelector('.wave')).animationName") == "tide"
    page.media(prefers_reduced_motion="reduce")
    page.until("getComputedStyle(document.querySelector('.wave')).animationName === 'none'")


TABBABLE = """[...document.querySelectorAll('a[href], button, select, input, summary, [tabindex="0"]')]
  .filter((element) => element.checkVisibility()).map(nameOf)"""
NAME = """window.nameOf = (element) => [element.tagName, element.id, element.className,
  element.closest('[data-key]')?.dataset.key, element.closest('section')?.className].join(' ');"""


def test_a_walk_by_keyboard_reaches_everything_and_is_seen(world):
    page = world.stocked_page()
    page.run(NAME)
    wanted = page.run(TABBABLE)
    walked = []
    for _ in range(len(wanted)):
        page.press("Tab")
        walked.append(page.run("nameOf(document.activeElement)"))
        ring = page.run("""(() => { const style = getComputedStyle(document.activeElement);
          return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 1; })()""")
        assert ring, f"the focus is not seen on {walked[-1]}"
        top = page.run("document.activeElement.getBoundingClientRect().bottom")
        assert top > 0, f"out of sight: {walked[-1]}"
    assert walked == wanted, f"{walked} is not {wanted}"
    assert walked[0].startswith("A  skip"), walked[0]


def test_keys_do_what_clicks_do(world):
    world.daemon.sale(19, [("KEYS", 100, 10)])
    page = world.stocked_page()
    page.press("Tab")
    page.press("Enter")
    assert page.run("document.activeElement.id") == "main"
    page.run("document.getElementById('wall').focus()")
    page.press(" ")
    page.until("document.body.classList.contains('wall')")
    assert page.run("document.getElementById('wall').getAttribute('aria-pressed')") == "true"
    assert "wall=1" in page.run("location.search")
    page.press("Escape")
    page.until("!document.body.classList.contains('wall')")
    page.until("document.querySelector('#sales [data-key=\"19\"]')")
    page.run("document.querySelector('#sales [data-key=\"19\"] .choose').focus()")
    page.press("Enter")
    shows_sale(page, 19)


def test_what_a_screen_reader_finds(world):
    page = world.stocked_page()
    for landmark in ("header", "main", "footer"):
        assert page.run(f"document.querySelectorAll('body > {landmark}').length") == 1, landmark
    assert page.run("[...document.querySelectorAll('h1')].filter((h) => h.checkVisibility()).length") == 1
    nameless = page.run("""[...document.querySelectorAll('section, button, select, input, canvas, table, [role=group]')]
      .filter((element) => element.checkVisibility() && !element.getAttribute('aria-label') &&
        !document.getElementById(element.getAttribute('aria-labelledby'))?.textContent.trim() &&
        !element.labels?.length && !element.textContent.trim()).map((element) => element.outerHTML.slice(0, 80))""")
    assert nameless == [], nameless
    say = page.run("(({ariaLive, role}) => [ariaLive, role])(document.getElementById('say'))")
    assert say == ["polite", "status"], say
    live = page.run("document.querySelectorAll('[aria-live], [role=status], [role=alert], [role=log]').length")
    assert live == 1, "figures that change twice a second are not read aloud"


def test_announcements_come_one_at_a_time(world):
    page = world.page()
    said = page.run("""import('/assets/speaker.js').then(({ Speaker }) => new Promise((resolve) => {
      const region = document.getElementById('say'), said = [], began = performance.now();
      new MutationObserver(() => {
        said.push([region.textContent, performance.now() - began]);
        if (said.length === 2) resolve(said);
      }).observe(region, {childList: true});
      const speaker = new Speaker();
      for (const words of ['one', 'two', 'two', 'three', 'four', 'five', 'six']) speaker.say(words);
    }))""")
    assert [words for words, _ in said] == ["one", "three"], said  # the oldest that waited are dropped
    assert said[1][1] - said[0][1] > 3500, said


def test_axe_finds_nothing_to_complain_about(world):
    axe = open(AXE).read()
    cases = [("desktop", "light", "en-GB"), ("desktop", "dark", "zh-CN"), ("phone", "light", "zh-CN"),
             ("phone", "dark", "en-GB"), ("wall", "dark", "en-GB"), ("wall", "light", "zh-CN")]
    for size, theme, language in cases:
        page = world.stocked_page("&wall=1" if size == "wall" else "", language=language,
                                  prefers_color_scheme=theme, **SIZES[size])
        page.run("for (const details of document.querySelectorAll('details')) details.open = true")
        page.run(axe + ";undefined")
        found = page.run("""axe.run(document, {resultTypes: ['violations'], runOnly: {type: 'tag',
          values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}})
          .then((result) => ({ passed: result.passes.length, violations: result.violations.map((rule) =>
            [rule.id, rule.nodes.map((node) => node.target.join(' ') + ': ' + node.failureSummary)]) }))""")
        assert found["violations"] == [], f"{size} {theme} {language}: {json.dumps(found['violations'], indent=1)}"
        assert found["passed"] > 20, found["passed"]


# --- what may run in it ---


def test_the_policy_lets_nothing_in_and_the_page_needs_nothing(world):
    page = world.page()
    policy = page.run("fetch('/').then((answer) => answer.headers.get('content-security-policy'))")
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";") if " " in part.strip())
    assert parts["default-src"] == "'none'" and parts["script-src"] == "'self'" and parts["style-src"] == "'self'"
    assert parts["connect-src"] == "'self'" and parts["frame-ancestors"] == "'none'", policy
    html = page.run("fetch('/').then((answer) => answer.text())")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|https?://(?!www\.w3\.org/)", html)
    for name in os.listdir(WEB):
        source = open(os.path.join(WEB, name)).read()
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source), name
    page.run("""(() => { const script = document.createElement('script'); script.textContent = 'window.evil = 1';
      document.body.append(script); })()""")
    assert page.run("window.evil") is None, "an inline script ran"
    page.expected = [r"Content Security Policy|violates the following"]


def run(world, name, test):
    try:
        try:
            test(world)
        finally:
            if sys.exc_info()[0] and world.pages:
                world.pages[-1].shoot(f"{PICTURES}/failed-{name}.png")
            world.end_test()
    except Exception:
        print(f"FAIL  {name}")
        traceback.print_exc(file=sys.stdout)
        return False
    print(f"ok    {name}", flush=True)
    return True


def main():
    os.makedirs(PICTURES, exist_ok=True)
    for name in os.listdir(PICTURES):
        if name.endswith(".png"):
            os.remove(os.path.join(PICTURES, name))
    wanted = sys.argv[3:]
    tests = [(name[5:], test) for name, test in globals().items()
             if name.startswith("test_") and (not wanted or any(word in name for word in wanted))]
    world = World()
    try:
        passed = sum([run(world, name, test) for name, test in tests])
    finally:
        world.end()
    print(f"{passed} passed, {len(tests) - passed + (not tests)} failed")
    return 0 if 0 < passed == len(tests) else 1


if __name__ == "__main__":
    sys.exit(main())
