/* Verdicts in the order in which the chart stacks them, and the table lists them. The first have a
 * colour each; what is rare is summed up as others in the chart. */
const STACKED = ['ACCEPTED', 'SOLD_OUT', 'INSUFFICIENT_STOCK', 'LIMIT_REACHED', 'NOT_STARTED', 'ENDED', 'PAUSED', 'BUSY'];
export const OTHER = 'OTHER';

export function isStacked(verdict) {
  return STACKED.includes(verdict);
}

/* The parts of the stack that any of these counts needs; ACCEPTED always is there. */
export function verdictsIn(counts) {
  const found = STACKED.filter((verdict) => verdict === 'ACCEPTED' || counts.some((by) => by[verdict] > 0));
  const rare = counts.some((by) => Object.entries(by).some(([name, n]) => n > 0 && !isStacked(name)));
  return rare ? [...found, OTHER] : found;
}

export function rateOf(byVerdict, verdict) {
  if (verdict !== OTHER) return byVerdict[verdict] ?? 0;
  return Object.entries(byVerdict).reduce((sum, [name, n]) => (isStacked(name) ? sum : sum + n), 0);
}

/* All verdicts of the totals: the stacked ones first, then the others by how often they were given. */
export function verdictsListed(totals) {
  const others = Object.keys(totals).filter((name) => !isStacked(name) && totals[name] > 0);
  others.sort((a, b) => totals[b] - totals[a]);
  return [...STACKED.filter((name) => name === 'ACCEPTED' || totals[name] > 0), ...others];
}
