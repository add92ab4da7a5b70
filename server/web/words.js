/* Texts, numbers, money and times in the language that was chosen. */
import { strings } from './strings.js';

const LOCALES = { en: 'en-GB', zh: 'zh-CN' };
/* British English writes a million as m, which is a thousandth on an axis of milliseconds. */
const SHORT_LOCALES = { en: 'en-US', zh: 'zh-CN' };
const formats = new Map();
let language = 'en';

export function languageOf(wanted) {
  return wanted.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

export function chooseLanguage(wanted) {
  language = wanted;
  document.documentElement.lang = LOCALES[language];
}

export function chosenLanguage() {
  return language;
}

export function otherLanguage() {
  return language === 'en' ? 'zh' : 'en';
}

export function has(key) {
  return Object.hasOwn(strings[language], key);
}

/* The text of a key, its {places} filled in. */
export function text(key, places = {}) {
  return strings[language][key].replace(/\{(\w+)\}/g, (_, name) => places[name]);
}

/* The text of a name that the server gave, or the name. */
export function nameOf(group, name) {
  return has(`${group}_${name}`) ? text(`${group}_${name}`) : name;
}

/* Formats are dear to make: one of each kind and language is kept. */
function format(kind, options, locale = LOCALES[language]) {
  const key = locale + kind.name + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new kind(locale, options));
  return formats.get(key);
}

const numbers = (options) => format(Intl.NumberFormat, options);
const times = (options) => format(Intl.DateTimeFormat, options);

export function count(n) {
  return numbers({ maximumFractionDigits: 0 }).format(n);
}

/* For an axis, where there is little room. */
export function shortCount(n) {
  const options = { notation: 'compact', maximumFractionDigits: 1 };
  return format(Intl.NumberFormat, options, SHORT_LOCALES[language]).format(n);
}

/* Down to a tenth; what is left of something never shows as 0 %, nor what is gone as 100 %. */
export function share(part, whole) {
  if (!(whole > 0)) return '—';
  const percent = (100 * part) / whole;
  const digits = percent > 0 && percent < 10 ? 1 : 0;
  let shown = Number(percent.toFixed(digits));
  if (part > 0 && shown === 0) shown = 0.1;
  if (part < whole && shown === 100) shown = 99.9;
  return numbers({ style: 'percent', maximumFractionDigits: 1 }).format(shown / 100);
}

/* Whole minor units, with as many decimals as ISO 4217 gives the currency: JPY has none. */
export function money(minor, currency) {
  let form;
  try {
    form = numbers({ style: 'currency', currency });
  } catch {
    return `${count(minor)} ${currency}`;
  }
  return form.format(minor / 10 ** form.resolvedOptions().maximumFractionDigits);
}

export function duration(us) {
  if (us === null || us === undefined) return '—';
  const [key, n] = us < 1000 ? ['us', us] : us < 1e6 ? ['ms', us / 1e3] : ['s', us / 1e6];
  return text(key, { n: numbers({ maximumSignificantDigits: 3 }).format(n) });
}

/* A length of the history, in words. */
export function span(seconds) {
  return seconds < 120
    ? text('span_s', { n: count(seconds) })
    : text('span_min', { n: count(seconds / 60) });
}

export function timeOfDay(ms) {
  return times({ hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false }).format(ms);
}

export function minuteOfDay(ms) {
  return times({ hour: '2-digit', minute: '2-digit', hour12: false }).format(ms);
}

export function dateAndTime(ms) {
  return times({ dateStyle: 'medium', timeStyle: 'short', hour12: false }).format(ms);
}
