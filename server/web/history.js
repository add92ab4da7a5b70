/* What the charts draw: one sample for each second of the last five minutes, by the server's clock.
 * The server keeps none, so the curves begin when the page is opened. */

const SECONDS_KEPT = 300;
/* A chart is at least so wide, so that a new one does not race. */
const SECONDS_SHOWN_MIN = 30;

export class History {
  samples = [];

  /* Snapshots of one second replace each other. A clock that went back starts anew. */
  add(snapshot) {
    const s = Math.floor(snapshot.server_time_ms / 1000);
    const last = this.samples.at(-1);
    if (last && s < last.s) this.samples = [];
    if (last && s === last.s) this.samples.pop();
    this.samples.push({
      s,
      left: snapshot.sale?.available_units ?? null,
      gmv: snapshot.sale ? snapshot.gmv_minor : null,
      byVerdict: snapshot.rates?.by_verdict ?? {},
      p50: snapshot.latency?.commit_us?.p50 ?? null,
      p99: snapshot.latency?.commit_us?.p99 ?? null,
    });
    while (this.samples[0].s <= s - SECONDS_KEPT) this.samples.shift();
  }

  /* Another sale has another stock and its own money; rates and latency are of all sales. */
  forgetSale() {
    for (const sample of this.samples) Object.assign(sample, { left: null, gmv: null });
  }

  /* What the money grew by in the last minute, or null when that was not seen. */
  get gmvOfMinute() {
    const last = this.samples.at(-1);
    const before = this.samples.find((sample) => sample.s === last.s - 60);
    return before && before.gmv !== null ? last.gmv - before.gmv : null;
  }

  /* Seconds on the axis. */
  get shown() {
    if (this.samples.length === 0) return SECONDS_SHOWN_MIN;
    return Math.max(SECONDS_SHOWN_MIN, this.samples.at(-1).s - this.samples[0].s);
  }

  /* At most `rows` samples, evenly spread, the newest first. */
  spread(rows) {
    const step = Math.max(1, Math.ceil(this.samples.length / rows));
    return [...this.samples].reverse().filter((_, i) => i % step === 0);
  }
}
