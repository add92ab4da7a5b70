/* Puts a snapshot into the page. An element is touched only when what it says has changed. What a figure
 * is exactly stands in its data-value, for tests and for other scripts. */
import { OTHER, isStacked, verdictsListed } from './verdicts.js';
import { count, dateAndTime, duration, has, money, nameOf, share, text } from './words.js';

const ALERTS_SHOWN_MAX = 6;
const ALERTS_SHOWN_MAX_WALL = 3; /* on one line */
/* Behind the orders by less is no news: it is caught up with in a blink. */
const EVENTS_BEHIND_MAX = 10000;
/* Items change places no more often than that, or nobody could read them. */
const REORDER_MS = 5000;

const byId = (id) => document.getElementById(id);

function put(element, words, value) {
  const target = typeof element === 'string' ? byId(element) : element;
  if (target.textContent !== words) target.textContent = words;
  if (value !== undefined) target.dataset.value = value ?? '';
}

/* Large figures become smaller when they are long. */
function putLarge(id, words, value) {
  put(id, words, value);
  byId(id).style.setProperty('--chars', words.length);
}

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/* One child of `parent` for each key, in their order; those that stay are kept. `fill` writes into each. */
function keyed(parent, keys, create, fill) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  keys.forEach((key, i) => {
    let child = old.get(key);
    old.delete(key);
    if (!child) {
      child = create(key);
      child.dataset.key = key;
    }
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null);
    fill(child, key);
  });
  for (const child of old.values()) child.remove();
}

export const titleOf = (sale) => sale.name || text('sale_numbered', { id: sale.sale_id });

export const unitsOf = (sale) => sale.initial_units + (sale.restocked_units ?? 0);

function badge(element, state) {
  if (element.dataset.state === state && element.dataset.lang === document.documentElement.lang) return;
  element.dataset.state = state;
  element.dataset.lang = document.documentElement.lang;
  element.replaceChildren(icon(state), nameOf('state', state));
}

export function showSale(sale) {
  put('sale-name', titleOf(sale), sale.sale_id);
  put('kind', nameOf('kind', sale.kind), sale.kind);
  badge(byId('state'), sale.state);
  const total = unitsOf(sale);
  const out = sale.available_units === 0;
  putLarge('units-left', count(sale.available_units), sale.available_units);
  put('units-of', text('units_of', { total: count(total), share: share(sale.available_units, total) }), total);
  put('units-reserved', count(sale.reserved_units), sale.reserved_units);
  put('units-sold', count(sale.sold_units), sale.sold_units);
  const level = total > 0 ? sale.available_units / total : 0;
  byId('water').style.setProperty('--share', level.toFixed(4));
  byId('water').dataset.level = out ? 'out' : level < 0.1 ? 'low' : 'high';
  document.title = `${count(sale.available_units)} · ${titleOf(sale)} · Tidegate`;
}

export function showMoney(snapshot, ofMinute) {
  const currency = snapshot.currency ?? snapshot.sale?.currency;
  putLarge('gmv', money(snapshot.gmv_minor, currency), snapshot.gmv_minor);
  const average = snapshot.average_order_minor;
  put('average', average ? money(average, currency) : '—', average);
  put('gmv-minute', ofMinute === null ? '—' : money(ofMinute, currency), ofMinute);
}

/* After a start the server counts what became of orders from the first on: until then some is missing. */
export function showBooks(behind = 0) {
  byId('books').hidden = behind <= EVENTS_BEHIND_MAX;
  put('books', text('books_behind', { n: count(behind) }), behind);
}

export function showTeams(teams, kind) {
  byId('teams').hidden = kind !== 'GROUP_BUY';
  for (const name of ['open', 'formed', 'failed']) put(`teams-${name}`, count(teams?.[name] ?? 0), teams?.[name] ?? 0);
}

function verdictRow() {
  return make('tr', '', make('th', '', make('span', 'swatch'), make('span')), make('td', 'digits'), make('td', 'digits'));
}

export function showRates({ rates, totals }) {
  put('accepted-rate', count(rates.accepted_per_s), rates.accepted_per_s);
  put('refused-rate', count(rates.refused_per_s), rates.refused_per_s);
  keyed(byId('verdicts'), verdictsListed(totals.by_verdict), verdictRow, (row, verdict) => {
    const [head, rate, total] = row.children;
    head.scope = 'row';
    head.firstChild.dataset.verdict = isStacked(verdict) ? verdict : OTHER;
    put(head.lastChild, nameOf('verdict', verdict));
    put(rate, count(rates.by_verdict[verdict] ?? 0), rates.by_verdict[verdict] ?? 0);
    put(total, count(totals.by_verdict[verdict] ?? 0), totals.by_verdict[verdict] ?? 0);
  });
}

export function showLatency({ commit_us: commit, batch }) {
  for (const name of ['p50', 'p99', 'max']) put(`commit-${name}`, duration(commit?.[name]), commit?.[name] ?? null);
  for (const name of ['p50', 'p99']) put(`batch-${name}`, batch ? count(batch[name]) : '—', batch?.[name] ?? null);
}

function itemRow() {
  const bar = make('div', 'bar', make('i', 'left'), make('i', 'held'), make('i', 'gone'));
  bar.setAttribute('aria-hidden', 'true');
  const head = make('th', '', make('div', 'named', make('span', 'sku'), bar));
  head.scope = 'row';
  return make('tr', '', head, make('td', 'price digits'), make('td', 'digits'), make('td', 'digits'), make('td', 'digits'));
}

function fillItem(row, item, currency) {
  const [head, price, left, reserved, sold] = row.children;
  const total = Math.max(1, unitsOf(item));
  const [sku, bar] = head.firstChild.children;
  put(sku, item.sku);
  put(price, money(item.price_minor, currency), item.price_minor);
  put(left, item.available_units === 0 ? text('sold_out') : count(item.available_units), item.available_units);
  put(reserved, count(item.reserved_units), item.reserved_units);
  put(sold, count(item.sold_units), item.sold_units);
  row.dataset.out = item.available_units === 0;
  const [a, b, c] = bar.children;
  a.style.setProperty('--share', (item.available_units / total).toFixed(4));
  b.style.setProperty('--share', (item.reserved_units / total).toFixed(4));
  c.style.setProperty('--share', (item.sold_units / total).toFixed(4));
}

const order = { skus: [], at: -Infinity };

/* The order of the last five seconds, unless other items are among the first. */
function orderOf(items) {
  const skus = items.map((item) => item.sku);
  const same = skus.length === order.skus.length && skus.every((sku) => order.skus.includes(sku));
  if (!same || performance.now() - order.at > REORDER_MS) {
    order.skus = skus;
    order.at = performance.now();
  }
  return order.skus;
}

export function showItems(sale) {
  const items = Array.isArray(sale.items) ? sale.items : [];
  const all = sale.item_count ?? items.length;
  const bySku = new Map(items.map((item) => [item.sku, item]));
  keyed(byId('items'), orderOf(items), itemRow, (row, sku) => fillItem(row, bySku.get(sku), sale.currency));
  put('items-shown', text('items_shown', { shown: count(items.length), all: count(all) }), all);
}

function step() {
  const bar = make('div', 'bar', make('i', 'left'));
  bar.setAttribute('aria-hidden', 'true');
  return make('li', '', make('span', 'name'), make('span', 'digits'), make('span', 'quiet of'), bar);
}

/* Each step is measured by the one before it: in a seckill a bar of all attempts would hide the rest. */
export function showFunnel(funnel) {
  const steps = ['attempts', 'reserved', 'paid', 'confirmed'];
  keyed(byId('funnel'), steps, step, (row, name) => {
    const [label, n, of, bar] = row.children;
    const before = funnel[steps[steps.indexOf(name) - 1]];
    put(label, text(`funnel_${name}`));
    put(n, count(funnel[name]), funnel[name]);
    put(of, before > 0 ? text('funnel_of', { share: share(funnel[name], before) }) : '');
    const part = before === undefined ? Number(funnel[name] > 0) : before > 0 ? funnel[name] / before : 0;
    bar.firstChild.style.setProperty('--share', Math.min(1, part).toFixed(4));
  });
}

export const keyOf = (alert) => [alert.name, alert.sale_id ?? '', alert.sku ?? ''].join(' ');

/* In the page's language when it is known to it, otherwise in the server's words. */
export function alertText(alert) {
  const places = { sku: alert.sku, value: count(alert.value), threshold: count(alert.threshold) };
  return has(`alert_${alert.name}`) ? text(`alert_${alert.name}`, places) : alert.message;
}

export function alertName(alert) {
  return has(`alert_${alert.name}_short`) ? text(`alert_${alert.name}_short`) : alert.name;
}

function alertRow() {
  return make('li', '', make('span', 'badge'), make('strong'), make('span'));
}

/* The critical ones first, then as the server tells them. */
export function showAlerts(alerts, leftOut = 0) {
  const rank = (alert) => (alert.severity === 'critical' ? 0 : 1);
  const sorted = [...alerts].sort((a, b) => rank(a) - rank(b));
  const most = document.body.classList.contains('wall') ? ALERTS_SHOWN_MAX_WALL : ALERTS_SHOWN_MAX;
  const shown = new Map(sorted.slice(0, most).map((alert) => [keyOf(alert), alert]));
  const more = alerts.length - shown.size + leftOut;
  put('alerts-title', text('alerts_count', { n: count(alerts.length + leftOut) }), alerts.length + leftOut);
  byId('alerts-none').hidden = alerts.length > 0;
  keyed(byId('alerts'), [...shown.keys(), ...(more > 0 ? ['more'] : [])], alertRow, (row, key) => {
    const [severity, name, words] = row.children;
    const alert = shown.get(key);
    severity.hidden = !alert;
    row.dataset.severity = alert?.severity ?? '';
    row.dataset.name = alert?.name ?? '';
    if (alert) severity.replaceChildren(icon(alert.severity), nameOf('severity', alert.severity));
    put(name, alert ? alertName(alert) : '');
    put(words, alert ? alertText(alert) : text('alerts_more', { n: count(more) }));
  });
}

function saleRow() {
  const choose = make('button', 'choose');
  choose.type = 'button';
  const head = make('th', '', choose);
  head.scope = 'row';
  return make('tr', '', head, make('td', '', make('span', 'badge')), make('td', 'quiet when'), make('td', 'digits'), make('td', 'digits'));
}

export function showSales(sales, chosen) {
  const byKey = new Map(sales.map((sale) => [sale.sale_id, sale]));
  keyed(byId('sales'), [...byKey.keys()], saleRow, (row, id) => {
    const sale = byKey.get(id);
    const [head, state, when, left, gmv] = row.children;
    put(head.firstChild, titleOf(sale));
    if (id === chosen) row.setAttribute('aria-current', 'true');
    else row.removeAttribute('aria-current');
    badge(state.firstChild, sale.state);
    put(when, text('window_of', { from: dateAndTime(sale.starts_at_ms), to: dateAndTime(sale.ends_at_ms) }));
    put(left, `${count(sale.available_units)} / ${count(unitsOf(sale))}`, sale.available_units);
    put(gmv, sale.gmv_minor === undefined ? '—' : money(sale.gmv_minor, sale.currency), sale.gmv_minor);
  });
}

/* The list that is open is left alone: it is written only when something else is to stand in it. */
export function showPicker(sales, pinned, chosen) {
  const picker = byId('pick');
  const auto = sales.find((sale) => sale.sale_id === chosen);
  const options = sales.map((sale) => [sale.sale_id, `${titleOf(sale)} · ${nameOf('state', sale.state)}`]);
  options.unshift(['', auto && !pinned ? text('sale_auto_now', { name: titleOf(auto) }) : text('sale_auto')]);
  const wanted = JSON.stringify(options);
  if (picker.dataset.options !== wanted) {
    picker.dataset.options = wanted;
    picker.replaceChildren(...options.map(([value, words]) => new Option(words, value)));
  }
  if (picker.value !== (pinned ?? '')) picker.value = pinned ?? '';
}
