/* The server's snapshots, by server-sent events. They are read with fetch(), because an EventSource
 * cannot send a bearer token. A connection that ends, or is silent for too long, is made again after a
 * pause that doubles with each failure; whoever listens is told all the while. */

const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 10000;
/* A snapshot comes each half second. */
const SILENCE_MS_MAX = 5000;
/* No event is longer. */
const EVENT_CHARS_MAX = 1 << 20;

/* What the server's refusals mean to the page; all others are tried again. */
const REFUSALS = { 401: 'unauthenticated', 403: 'forbidden', 404: 'unknown' };

/* Calls onEvent(name, data) for each event of a response, until it ends. */
async function readEvents(response, onEvent) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest = (rest + value).replaceAll('\r\n', '\n');
    const events = rest.split('\n\n');
    rest = events.pop();
    if (rest.length > EVENT_CHARS_MAX) throw new Error('an event without end');
    for (const event of events) readEvent(event, onEvent);
  }
}

function readEvent(lines, onEvent) {
  let name = 'message';
  const data = [];
  for (const line of lines.split('\n')) {
    const colon = line.indexOf(':');
    const value = line.slice(colon + 1).replace(/^ /, '');
    if (line.startsWith('event:')) name = value;
    else if (line.startsWith('data:')) data.push(value);
  }
  if (data.length > 0) onEvent(name, data.join('\n'));
}

export class Stream {
  #path;
  #token;
  #told;
  #abort = new AbortController();
  #wake = () => {};
  #stopped = false;
  #pauseMs = PAUSE_MS_MIN;

  /* `told` has snapshot(object), live(), waiting(ms), trying() and refused(why). */
  constructor(path, token, told) {
    this.#path = path;
    this.#token = token;
    this.#told = told;
    this.#run();
  }

  stop() {
    this.#stopped = true;
    this.#abort.abort();
    this.#wake();
  }

  /* Ends a pause: the network may be back. */
  hurry() {
    this.#wake();
  }

  async #run() {
    while (!this.#stopped) {
      this.#told.trying();
      const refusal = await this.#once();
      if (this.#stopped) return;
      if (refusal) {
        this.#told.refused(refusal);
        if (refusal !== 'crowded') return;
      }
      await this.#pause();
    }
  }

  /* One connection, from its request to its end. */
  async #once() {
    this.#abort = new AbortController();
    const silence = { timer: 0 };
    const heard = () => {
      clearTimeout(silence.timer);
      silence.timer = setTimeout(() => this.#abort.abort(), SILENCE_MS_MAX);
    };
    heard();
    try {
      const headers = this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
      const response = await fetch(this.#path, {
        headers, signal: this.#abort.signal, cache: 'no-store', credentials: 'omit', redirect: 'error',
      });
      if (REFUSALS[response.status]) return REFUSALS[response.status];
      if (response.status === 503 || response.status === 429) return 'crowded';
      if (!response.ok || !response.body) return null;
      await readEvents(response, (name, data) => {
        heard();
        this.#take(name, data);
      });
    } catch {
      /* Ended, refused, silent or not understood: tried again, which the page shows. */
    } finally {
      clearTimeout(silence.timer);
      this.#abort.abort();
    }
    return null;
  }

  #take(name, data) {
    if (this.#stopped || name !== 'snapshot') return;
    const snapshot = JSON.parse(data);
    this.#pauseMs = PAUSE_MS_MIN;
    try {
      this.#told.live();
      this.#told.snapshot(snapshot);
    } catch (error) {
      reportError(error); /* The page's fault, which another connection would not mend. */
    }
  }

  /* Not all pages come back in the same instant after a restart: a part of the pause is chance. */
  async #pause() {
    const ms = Math.round(this.#pauseMs * (0.8 + 0.4 * Math.random()));
    this.#pauseMs = Math.min(2 * this.#pauseMs, PAUSE_MS_MAX);
    this.#told.waiting(ms);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
