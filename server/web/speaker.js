/* What is worth telling to who cannot see it: state, alerts, connection, and stock that falls below a
 * quarter more. Not each figure: one sentence at a time, with a pause behind it, and never the same
 * twice in a row. */
const PAUSE_MS = 4000;
const WAITING_MAX = 4;

export class Speaker {
  #region = document.getElementById('say');
  #waiting = [];
  #busy = false;

  say(sentence) {
    if (this.#waiting.at(-1) === sentence) return;
    this.#waiting.push(sentence);
    while (this.#waiting.length > WAITING_MAX) this.#waiting.shift();
    if (!this.#busy) this.#next();
  }

  #next() {
    const sentence = this.#waiting.shift();
    this.#busy = sentence !== undefined;
    if (!this.#busy) return;
    this.#region.textContent = sentence;
    setTimeout(() => this.#next(), PAUSE_MS);
  }
}
