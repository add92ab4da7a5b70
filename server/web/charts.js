/* The three curves, drawn by Chart.js. Each chart has a text of what it shows for who does not see it,
 * and a table of its samples. */
/* global Chart */
import { OTHER, verdictsIn, rateOf } from './verdicts.js';
import { count, duration, minuteOfDay, shortCount, span, text, timeOfDay } from './words.js';

const ROWS_OF_TABLE = 12;
/* A summary that changed each half second would never be read to its end. */
const SUMMARY_MS = 5000;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

/* At whole steps of time, as many as there is room for. */
function timeTicks(axis) {
  const most = Math.min(6, axis.chart.width / (6 * rem()));
  const step = [10, 15, 30, 60, 120].find((s) => (axis.max - axis.min) / s <= most) ?? 300;
  axis.ticks = [];
  for (let s = Math.ceil(axis.min / step) * step; s <= axis.max; s += step) axis.ticks.push({ value: s });
}

function optionsOf(yText, stacked) {
  const font = { family: getComputedStyle(document.body).fontFamily, size: (document.body.classList.contains('wall') ? 1 : 0.72) * rem() };
  const ticks = { color: colour('--quiet'), font, padding: 0.4 * rem(), maxRotation: 0 };
  const timeText = (s) => (s % 60 === 0 ? minuteOfDay(s * 1000) : timeOfDay(s * 1000));
  return {
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    events: [],
    normalized: true,
    plugins: { legend: { display: false }, tooltip: { enabled: false } },
    elements: { point: { radius: 0 }, line: { borderWidth: 0.13 * rem(), cubicInterpolationMode: 'monotone' } },
    scales: {
      x: {
        type: 'linear',
        afterBuildTicks: timeTicks,
        ticks: { ...ticks, callback: timeText, autoSkip: false },
        grid: { display: false, drawBorder: false },
      },
      y: {
        stacked,
        beginAtZero: true,
        ticks: { ...ticks, callback: yText, maxTicksLimit: 5 },
        grid: { color: colour('--line'), drawBorder: false, drawTicks: false },
      },
    },
  };
}

/* One chart of the page: which datasets it has, and what it says. */
class Curve {
  constructor(name, history, { yText, stacked, datasets, suggestedMax, said, columns, cells }) {
    Object.assign(this, { name, history, yText, stacked, datasets, suggestedMax, said, columns, cells });
    this.canvas = document.getElementById(`${name}-chart`);
    this.table = document.getElementById(`${name}-table`);
    this.details = this.table.closest('details');
    this.details.addEventListener('toggle', () => this.#tabulate());
    this.saidAt = -Infinity;
  }

  /* Colours, sizes and language are taken anew. */
  restyle() {
    this.chart?.destroy();
    this.chart = new Chart(this.canvas, { type: 'line', data: { datasets: [] }, options: optionsOf(this.yText, this.stacked) });
    this.saidAt = -Infinity;
    this.draw();
  }

  draw() {
    const { samples, shown } = this.history;
    if (!this.chart || samples.length === 0) return;
    const { x, y } = this.chart.options.scales;
    x.max = samples.at(-1).s;
    x.min = x.max - shown;
    y.suggestedMax = this.suggestedMax?.() ?? 1;
    const before = this.chart.data.datasets;
    this.chart.data.datasets = this.datasets(samples).map((set, i) => Object.assign(before[i] ?? {}, set));
    this.chart.update('none');
    this.#say();
  }

  #say() {
    if (performance.now() - this.saidAt < SUMMARY_MS) return;
    this.saidAt = performance.now();
    this.canvas.setAttribute('aria-label', this.said(this.history.samples.at(-1), span(this.history.shown)));
    this.#tabulate();
  }

  #tabulate() {
    if (!this.details.open) return;
    const row = (cells, tag) => {
      const tr = document.createElement('tr');
      cells.forEach((cell, i) => {
        const element = document.createElement(i === 0 ? 'th' : tag);
        if (i === 0 || tag === 'th') element.scope = tag === 'th' ? 'col' : 'row';
        element.textContent = cell;
        tr.append(element);
      });
      return tr;
    };
    const head = document.createElement('thead');
    const body = document.createElement('tbody');
    head.append(row([text('time'), ...this.columns()], 'th'));
    for (const sample of this.history.spread(ROWS_OF_TABLE))
      body.append(row([timeOfDay(sample.s * 1000), ...this.cells(sample)], 'td'));
    this.table.replaceChildren(head, body);
  }
}

const points = (samples, value) => samples.map((sample) => ({ x: sample.s, y: value(sample) }));
const accepted = (sample) => sample.byVerdict.ACCEPTED ?? 0;
const refused = (sample) =>
  Object.entries(sample.byVerdict).reduce((sum, [name, n]) => (name === 'ACCEPTED' ? sum : sum + n), 0);

function rateSets(samples) {
  return verdictsIn(samples.map((sample) => sample.byVerdict)).map((verdict, i) => ({
    data: points(samples, (sample) => rateOf(sample.byVerdict, verdict)),
    borderColor: colour('--panel'),
    backgroundColor: colour(`--verdict-${verdict}`),
    fill: i === 0 ? 'origin' : '-1',
  }));
}

/* A second without a commit has no latency; the line goes on over some of them. */
function latencySets(samples) {
  const line = { fill: false, spanGaps: 10 };
  return [
    { ...line, data: points(samples, (s) => s.p50), borderColor: colour('--accent') },
    { ...line, data: points(samples, (s) => s.p99), borderColor: colour('--second'), borderDash: [0.5 * rem(), 0.3 * rem()] },
  ];
}

function stockSets(samples) {
  return [{
    data: points(samples, (sample) => sample.left),
    borderColor: colour('--accent'),
    backgroundColor: colour('--accent') + '33',
    fill: 'origin',
  }];
}

export class Charts {
  /* `total()` tells the units that the chosen sale began with. */
  constructor(history, total) {
    this.curves = [
      new Curve('rates', history, {
        yText: shortCount,
        stacked: true,
        datasets: rateSets,
        said: (last, over) => text('rates_said', { span: over, accepted: count(accepted(last)), refused: count(refused(last)) }),
        columns: () => [text('accepted'), text('refused')],
        cells: (sample) => [count(accepted(sample)), count(refused(sample))],
      }),
      new Curve('latency', history, {
        yText: duration,
        datasets: latencySets,
        said: (last, over) => text('latency_said', { span: over, p50: duration(last.p50), p99: duration(last.p99) }),
        columns: () => [text('p50'), text('p99')],
        cells: (sample) => [duration(sample.p50), duration(sample.p99)],
      }),
      new Curve('stock', history, {
        yText: shortCount,
        datasets: stockSets,
        suggestedMax: total,
        said: (last, over) => text('stock_said', { span: over, left: last.left === null ? '—' : count(last.left), total: count(total()) }),
        columns: () => [text('units_left')],
        cells: (sample) => [sample.left === null ? '—' : count(sample.left)],
      }),
    ];
  }

  draw() {
    for (const curve of this.curves) curve.draw();
  }

  restyle() {
    for (const curve of this.curves) curve.restyle();
  }
}
