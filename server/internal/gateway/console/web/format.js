// SPDX-License-Identifier: Apache-2.0

// Times, lengths and sizes as people write them, and the words of the API's values.

import { h } from './dom.js';
import { locale, has, t } from './i18n.js';

const full = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' });
const today = new Intl.DateTimeFormat(locale, { timeStyle: 'medium' });
const day = new Intl.DateTimeFormat(locale, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' });
const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto', style: 'short' });

// time shows a time of here; that of UTC is the tooltip.
export function time(iso, style = 'auto') {
  if (!iso) return h('span', { class: 'dim' }, '–');
  const date = new Date(iso);
  let text = full.format(date);
  if (style === 'auto' && date.toDateString() === new Date().toDateString()) text = today.format(date);
  else if (style === 'auto' && date.getFullYear() === new Date().getFullYear()) text = day.format(date);
  return h('time', { datetime: iso, title: utc(iso) }, text);
}

// utc is a time of UTC, to the second.
export const utc = (iso) => new Date(iso).toISOString().replace('T', ' ').replace(/\.\d+Z$/, '') + ' UTC';

// ago is how long ago something was, as words.
export function ago(iso) {
  const s = (new Date(iso) - Date.now()) / 1000;
  for (const [unit, size] of [['day', 86400], ['hour', 3600], ['minute', 60]]) {
    if (Math.abs(s) >= size) return relative.format(Math.round(s / size), unit);
  }
  return relative.format(Math.min(0, Math.round(s)), 'second');
}

// seconds reads a protobuf duration, "12.5s".
export const seconds = (duration) => (duration ? parseFloat(duration) : 0);

// length writes seconds as 0:07, 12:30, 1:02:03.
export function length(s) {
  s = Math.max(0, Math.floor(s));
  const two = (n) => String(n).padStart(2, '0');
  return s >= 3600 ? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`;
}

// size writes bytes with the unit that leaves few digits.
export function size(bytes) {
  const n = Number(bytes);
  if (!n) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const i = Math.min(units.length - 1, Math.floor(Math.log10(n) / 3));
  const v = n / 1000 ** i;
  return `${new Intl.NumberFormat(locale, { maximumFractionDigits: v < 10 && i > 0 ? 1 : 0 }).format(v)} ${units[i]}`;
}

// word is what a value of an enum is called: RECORDING_STATE_AVAILABLE by "state.AVAILABLE".
export function word(kind, prefix, value) {
  const short = (value || '').replace(prefix, '');
  const key = `${kind}.${short}`;
  return has(key) ? t(key) : short.toLowerCase().replaceAll('_', ' ');
}

export const stateOf = (r) => (r.state || '').replace('RECORDING_STATE_', '');
export const formatWord = (r) => word('format', 'RECORDING_FORMAT_', r.format);
export const typeWord = (r, kind = 'type') => word(kind, 'RECORD_TYPE_', r.recordType);
export const layoutWord = (r) => word('layout', 'RECORDING_LAYOUT_', r.layout);
export const originWord = (r) => word('origin', 'RECORDING_ORIGIN_', r.origin);
export const endWord = (r) => word('end', 'END_REASON_', r.endReason);

// chip shows the state of a recording.
export const chip = (r) => h('span', { class: `chip ${stateOf(r).toLowerCase()}` }, word('state', 'RECORDING_STATE_', r.state));

// lasted is how long a class was, or has been until now, in seconds.
export function lasted(r) {
  if (!r.recordTime) return 0;
  return ((r.stopTime ? new Date(r.stopTime) : Date.now()) - new Date(r.recordTime)) / 1000;
}

// longest is the play time of the longest file, else that of the class; 0 where nobody knows.
export function longest(r) {
  const play = Math.max(0, ...(r.files || []).map((f) => seconds(f.duration)));
  return play || (r.stopTime ? lasted(r) : 0);
}

export const totalSize = (r) => (r.files || []).reduce((sum, f) => sum + Number(f.size || 0), 0);

// live is the length of a class that goes on: see tick.
export const live = (r) => h('span', { class: 'num', 'data-since': r.recordTime }, length(lasted(r)));

// tick brings all that live has made up to date.
export function tick() {
  for (const node of document.querySelectorAll('[data-since]')) {
    const text = length((Date.now() - new Date(node.dataset.since)) / 1000);
    if (node.textContent !== text) node.textContent = text;
  }
  for (const node of document.querySelectorAll('[data-ago]')) {
    const text = ago(node.dataset.ago);
    if (node.textContent !== text) node.textContent = text;
  }
}

// decoded reads percent-encoding; what is none stays as it is.
export function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
