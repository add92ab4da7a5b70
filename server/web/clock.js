/* The countdown. It goes by the server's clock, whose distance from this machine's is taken from each
 * snapshot, so a wall whose clock is wrong counts right. */
import { dateAndTime, text, timeOfDay } from './words.js';

const TICK_MS = 100;
/* Snapshots are late by what the network took: the least late one tells the clock best. One that is
 * this far from the others tells that a clock was set. */
const CLOCK_SET_MS = 1000;

const byId = (id) => document.getElementById(id);

/* Whole seconds until the end, rounded up: 0 is shown when the time has come. */
export function partsOf(ms) {
  const all = Math.max(0, Math.ceil(ms / 1000));
  const parts = [['days', Math.floor(all / 86400)], ['hours', Math.floor(all / 3600) % 24],
    ['minutes', Math.floor(all / 60) % 60], ['seconds', all % 60]];
  return parts[0][1] > 0 ? parts : parts.slice(1);
}

/* The moment that a sale of this state runs towards; null when it runs no more. */
function aim(sale) {
  if (sale.state === 'SCHEDULED') return sale.starts_at_ms;
  return sale.state === 'OPEN' || sale.state === 'PAUSED' ? sale.ends_at_ms : null;
}

export class Clock {
  #aheadMs = -Infinity;
  #sale = null;
  #shown = '';
  onTime = () => {};

  constructor() {
    setInterval(() => this.#tick(), TICK_MS);
  }

  set(sale, serverTimeMs) {
    const aheadMs = serverTimeMs - Date.now();
    if (aheadMs > this.#aheadMs || aheadMs < this.#aheadMs - CLOCK_SET_MS) this.#aheadMs = aheadMs;
    this.#sale = sale;
    byId('clock-label').textContent =
      text(`clock_${sale.state}`, { time: dateAndTime(sale.ends_at_ms) });
    byId('window').textContent =
      text('window_of', { from: dateAndTime(sale.starts_at_ms), to: dateAndTime(sale.ends_at_ms) });
    this.#tick();
  }

  get serverTimeMs() {
    return Date.now() + this.#aheadMs;
  }

  get shownTime() {
    return timeOfDay(this.serverTimeMs);
  }

  #tick() {
    if (!this.#sale) return;
    const end = aim(this.#sale);
    const left = end === null ? 0 : end - this.serverTimeMs;
    const parts = partsOf(left);
    const shown = document.documentElement.lang + this.#sale.state + parts;
    if (shown === this.#shown) return;
    this.#shown = shown;
    byId('clock').dataset.over = end === null;
    byId('clock').dataset.value = Math.max(0, Math.ceil(left / 1000));
    byId('clock').replaceChildren(...parts.map(([unit, n]) => part(unit, n)));
    this.#drawElapsed();
    this.onTime();
  }

  #drawElapsed() {
    const { starts_at_ms: from, ends_at_ms: to, state } = this.#sale;
    const gone = state === 'SCHEDULED' ? 0 : aim(this.#sale) === null ? 1 : (this.serverTimeMs - from) / (to - from);
    byId('elapsed').style.setProperty('--share', Math.min(1, Math.max(0, gone)).toFixed(4));
  }
}

function part(unit, n) {
  const box = document.createElement('span');
  const digits = document.createElement('span');
  const name = document.createElement('span');
  box.className = 'part';
  digits.className = 'digits';
  digits.textContent = unit === 'days' ? n : String(n).padStart(2, '0');
  name.className = 'unit';
  name.textContent = text(unit);
  box.append(digits, name);
  return box;
}
