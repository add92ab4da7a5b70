/* The live page: which sale is shown, in which language and dress, and what is done when a snapshot
 * comes, the connection is lost, or the server asks for a token. */
import { Charts } from './charts.js';
import { Clock } from './clock.js';
import { History } from './history.js';
import { Speaker } from './speaker.js';
import { Stream } from './stream.js';
import * as view from './view.js';
import * as words from './words.js';

const { text } = words;
const byId = (id) => document.getElementById(id);
const THEMES = ['auto', 'light', 'dark'];
const TOKEN = 'tidegate.token';
/* Best first, when nobody chose a sale. */
const STATES_WORTH = ['OPEN', 'PAUSED', 'SCHEDULED', 'ENDED', 'CLOSED'];
const SHARES_SAID = [0.75, 0.5, 0.25, 0.1];

const query = new URLSearchParams(location.search);

/* Wishes of the address come first: an address that is written down, for a wall, always looks the same. */
const settings = {
  language: words.languageOf(query.get('lang') ?? remembered('language') ?? navigator.language),
  theme: [query.get('theme'), remembered('theme')].find((theme) => THEMES.includes(theme)) ?? 'auto',
  wall: query.get('wall') === '1',
  pinned: query.get('sale'), /* null: the sale is chosen by the page */
};

let stream;
let streamed; /* the sale that the stream was asked for */
let snapshot; /* the newest one */
let link = { state: 'connecting' };
let notice = ''; /* the key of a text, with its places */
const history = new History();
const charts = new Charts(history, () => (snapshot?.sale ? view.unitsOf(snapshot.sale) : 0));
const clock = new Clock();
const speaker = new Speaker();

/* Storage can be forbidden; then nothing is remembered. */
function remembered(name) {
  try {
    return localStorage.getItem(`tidegate.${name}`);
  } catch {
    return null;
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(`tidegate.${name}`, value);
  } catch {
    /* The next visit begins anew. */
  }
}

function token(value) {
  try {
    if (value === '') sessionStorage.removeItem(TOKEN);
    else if (value !== undefined) sessionStorage.setItem(TOKEN, value);
    return sessionStorage.getItem(TOKEN);
  } catch {
    if (value !== undefined) token.kept = value;
    return token.kept ?? null;
  }
}

/* --- the sale that is shown --- */

/* An open one, the one that was shown if it is as good as the best; of several open ones the newest, of
 * scheduled ones the next, of those that are over the last. */
function bestOf(sales) {
  const worth = (sale) => STATES_WORTH.indexOf(sale.state);
  const best = Math.min(...sales.map(worth));
  const equal = sales.filter((sale) => worth(sale) === best);
  const same = equal.find((sale) => sale.sale_id === streamed);
  const nextFirst = STATES_WORTH[best] === 'SCHEDULED' ? 1 : -1;
  equal.sort((a, b) => nextFirst * (a.starts_at_ms - b.starts_at_ms));
  return (same ?? equal[0])?.sale_id;
}

function pin(id) {
  settings.pinned = id || null;
  notice = '';
  writeAddress();
  const wanted = settings.pinned ?? (snapshot ? bestOf(snapshot.sales) : undefined);
  if (wanted !== streamed) connect(wanted);
  else draw();
}

/* The address says what is shown, so that it can be sent to somebody. */
function writeAddress() {
  const wanted = new URLSearchParams(location.search);
  const set = (name, value) => (value ? wanted.set(name, value) : wanted.delete(name));
  set('sale', settings.pinned);
  set('wall', settings.wall ? '1' : '');
  const written = wanted.toString();
  window.history.replaceState(null, '', written ? `?${written}` : location.pathname);
}

/* --- the connection --- */

function connect(sale) {
  stream?.stop();
  if (sale !== streamed) history.forgetSale();
  streamed = sale;
  const path = sale ? `/api/stream?sale=${encodeURIComponent(sale)}` : '/api/stream';
  const mine = (handler) => (...given) => {
    if (stream === made) handler(...given);
  };
  const made = {};
  const told = {
    snapshot: mine(take),
    live: mine(() => setLink({ state: 'live' })),
    trying: mine(() => setLink({ state: link.lost ? 'retrying' : 'connecting' })),
    waiting: mine((ms) => setLink({ state: 'waiting', until: performance.now() + ms })),
    refused: mine(refused),
  };
  made.stop = () => made.real.stop();
  made.hurry = () => made.real.hurry();
  stream = made;
  made.real = new Stream(path, token(), told);
}

function setLink(now) {
  const lost = now.state === 'waiting' || (now.state === 'retrying' && link.lost);
  if (lost && !link.lost && snapshot) speaker.say(text('say_lost'));
  if (now.state === 'live' && link.lost && snapshot) speaker.say(text('say_back'));
  if (now.state === 'live' && (notice.key === 'crowded' || link.state === 'asking')) notice = '';
  link = { ...now, lost };
  drawLink();
}

function refused(why) {
  if (why === 'unknown') {
    notice = { key: 'sale_gone', places: { id: streamed } };
    settings.pinned = null;
    writeAddress();
    connect(undefined);
  } else if (why === 'crowded') {
    notice = { key: 'crowded' };
  } else {
    askForToken(why);
  }
}

/* --- the token --- */

let asked = ''; /* the key of why the server wants one */

function askForToken(why) {
  asked = why === 'forbidden' ? 'token_role' : token() ? 'token_wrong' : 'token_needed';
  token('');
  link = { state: 'asking', lost: false };
  snapshot = undefined;
  draw();
  byId('token').focus();
}

function useToken(event) {
  event.preventDefault();
  const given = byId('token').value.trim();
  if (!given) return;
  token(given);
  byId('token').value = '';
  asked = '';
  connect(settings.pinned ?? undefined);
  draw();
  byId('main').focus();
}

/* --- a snapshot --- */

function take(newest) {
  const before = snapshot;
  snapshot = newest;
  if (!settings.pinned) {
    const best = bestOf(newest.sales);
    if (best !== streamed) {
      connect(best);
      if (!newest.sale || newest.sale.sale_id !== best) return draw();
    }
  }
  history.add(newest);
  tell(before, newest);
  draw();
}

function tell(before, now) {
  if (before?.sale && now.sale && before.sale.sale_id === now.sale.sale_id) tellSale(before.sale, now.sale);
  const old = new Set((before?.alerts ?? []).map(view.keyOf));
  const fresh = (now.alerts ?? []).filter((alert) => !old.has(view.keyOf(alert)));
  for (const alert of fresh) speaker.say(text('say_alert', { text: `${view.alertName(alert)}. ${view.alertText(alert)}` }));
  if (old.size > 0 && now.alerts.length === 0) speaker.say(text('say_alerts_over'));
}

function tellSale(before, now) {
  if (before.state !== now.state)
    speaker.say(text('say_state', { sale: view.titleOf(now), state: words.nameOf('state', now.state) }));
  const shareOf = (sale) => sale.available_units / Math.max(1, view.unitsOf(sale));
  const fallen = SHARES_SAID.some((share) => shareOf(before) > share && shareOf(now) <= share);
  if (before.available_units > 0 && now.available_units === 0) speaker.say(text('say_sold_out'));
  else if (fallen) speaker.say(text('say_stock', { share: words.share(now.available_units, view.unitsOf(now)) }));
}

/* --- drawing --- */

function draw() {
  const sale = snapshot?.sale;
  const asking = asked !== '';
  byId('token-panel').hidden = !asking;
  byId('forget').hidden = !token();
  if (asking) byId('token-why').textContent = text(asked);
  byId('board').hidden = asking;
  drawLink();
  if (!snapshot) return;
  byId('board').dataset.empty = !sale;
  view.showPicker(snapshot.sales, settings.pinned, streamed);
  view.showSales(snapshot.sales, sale?.sale_id);
  view.showAlerts(snapshot.alerts ?? [], snapshot.alerts_left_out);
  view.showRates(snapshot);
  view.showLatency(snapshot.latency ?? {});
  if (sale) drawSale(sale);
  byId('version').textContent = text('version', { version: snapshot.version });
  byId('board').dataset.time = snapshot.server_time_ms;
  charts.draw();
}

function drawSale(sale) {
  view.showSale(sale);
  view.showMoney(snapshot, history.gmvOfMinute);
  view.showTeams(snapshot.teams, sale.kind);
  view.showBooks(snapshot.books_behind);
  view.showFunnel(snapshot.funnel);
  view.showItems(sale);
  clock.set(sale, snapshot.server_time_ms);
}

function drawLink() {
  const seconds = Math.max(1, Math.ceil(((link.until ?? 0) - performance.now()) / 1000));
  byId('link').dataset.state = link.state;
  byId('link-text').textContent = text(`link_${link.state}`, { n: words.count(seconds) });
  const stale = link.lost && snapshot;
  document.body.dataset.stale = Boolean(stale);
  const shown = stale ? { key: 'stale', places: { time: words.timeOfDay(snapshot.server_time_ms) } }
    : notice || (snapshot && snapshot.sales.length === 0 ? { key: 'no_sales' } : '');
  byId('notice').hidden = !shown;
  if (shown) byId('notice').textContent = text(shown.key, shown.places);
}

/* --- language, theme, wall --- */

const darkWanted = matchMedia('(prefers-color-scheme: dark)');

function themeNow() {
  if (settings.theme !== 'auto') return settings.theme;
  return darkWanted.matches ? 'dark' : 'light';
}

function dress() {
  words.chooseLanguage(settings.language);
  document.documentElement.dataset.theme = themeNow();
  document.body.classList.toggle('wall', settings.wall);
  for (const element of document.querySelectorAll('[data-t]')) element.textContent = text(element.dataset.t);
  for (const element of document.querySelectorAll('[data-t-label]'))
    element.setAttribute('aria-label', text(element.dataset.tLabel));
  words.chooseLanguage(words.otherLanguage());
  byId('language').textContent = text('language_name');
  byId('language').lang = document.documentElement.lang;
  words.chooseLanguage(settings.language);
  byId('theme').textContent = text(`theme_${settings.theme}`);
  byId('wall').setAttribute('aria-pressed', settings.wall);
  draw();
  charts.restyle();
}

function changeLanguage() {
  settings.language = words.otherLanguage();
  remember('language', settings.language);
  dress();
}

function changeTheme() {
  settings.theme = THEMES[(THEMES.indexOf(settings.theme) + 1) % THEMES.length];
  remember('theme', settings.theme);
  dress();
}

function changeWall(wall) {
  settings.wall = wall;
  writeAddress();
  dress();
}

function forgetToken() {
  stream?.stop();
  token('');
  askForToken('unauthenticated');
}

function begin() {
  byId('language').addEventListener('click', changeLanguage);
  byId('theme').addEventListener('click', changeTheme);
  byId('wall').addEventListener('click', () => changeWall(!settings.wall));
  byId('forget').addEventListener('click', forgetToken);
  byId('token-form').addEventListener('submit', useToken);
  byId('pick').addEventListener('change', (event) => pin(event.target.value));
  byId('sales').addEventListener('click', (event) => {
    const row = event.target.closest('.choose')?.closest('tr');
    if (row) pin(row.dataset.key);
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && settings.wall) changeWall(false);
  });
  darkWanted.addEventListener('change', dress);
  addEventListener('resize', () => charts.restyle());
  addEventListener('online', () => stream?.hurry());
  clock.onTime = () => {
    byId('server-time').textContent = text('server_time', { time: clock.shownTime });
    if (link.state === 'waiting') drawLink();
  };
  dress();
  connect(settings.pinned ?? undefined);
}

begin();
