// SPDX-License-Identifier: Apache-2.0

// The views of the console: rooms, events and recordings; the player has a file of its own.

import { field, fill, h, icon } from './dom.js';
import { ago, chip, endWord, formatWord, length, live, longest, originWord, size, time, totalSize, typeWord } from './format.js';
import { t } from './i18n.js';
import { model } from './model.js';
import { settings } from './shell.js';
import { busy, problem, startForm, stopButton } from './start.js';
import * as api from './api.js';

export { player } from './player.js';

export const playerLink = (name) => '#/recordings/' + name.split('/').map(encodeURIComponent).join('/');
export const recordingsLink = (room) => '#/recordings?' + new URLSearchParams({ room });

// listedLink leads to a recording that has no name, because the platform's list does not say when it began.
const listedLink = (r) => `#/recordings/listed/${model.listed.push(r) - 1}`;

const playIcon = () => icon('M4 2.5v11l9-5.5z');

// listen calls a function on an event of the model until signal ends.
const listen = (name, signal, take) => model.addEventListener(name, take, { signal });

// table makes a table that becomes cards on a phone: columns are [words, class].
function table(caption, columns, rows) {
  return h('table', {}, h('caption', {}, caption), h('thead', {}, h('tr', {}, columns.map(([words, c]) => h('th', { scope: 'col', class: c }, words)))),
    h('tbody', {}, rows));
}

// row makes one of its rows: the cells know what they are called, for the cards.
const row = (columns, cells, props) => h('tr', props, cells.map((cell, i) =>
  h('td', { class: columns[i][1], 'data-label': columns[i][0] || null }, cell)));

const who = (r) => h('span', { class: 'who' }, r.userId && h('span', { class: 'id cut', title: r.userId }, r.userId), h('span', { class: 'dim' }, originWord(r)));

const what = (r) => [typeWord(r, 'kind'), /MIX|MP3/.test(r.recordType) ? '' : formatWord(r), r.recordChat && t('chat')].filter(Boolean).join(' · ');

// rooms is the first view: what is on, what to start, what happens.
export function rooms(signal) {
  const form = startForm();
  const now = h('section', { class: 'panel', 'aria-labelledby': 'now-title' });
  const lately = h('section', { class: 'panel', 'aria-labelledby': 'lately-title' });
  const feed = h('section', { class: 'panel feed', 'aria-labelledby': 'feed-title' });
  const kept = new Map(); // rows by name, so that a button keeps the focus while others change

  const nowRow = (r) => {
    const known = kept.get(r.name);
    if (known && known.version === r.updateTime + r.state) return known.node;
    const on = !r.stopTime && /RECORDING$|STOPPING/.test(r.state);
    const done = /AVAILABLE|FAILED/.test(r.state);
    const node = row(nowColumns(), [
      h('a', { class: 'id strong', href: recordingsLink(r.room) }, r.room), chip(r),
      on ? live(r) : h('span', { class: 'num' }, length(longest(r))), who(r), what(r),
      on ? stopButton(r) : done ? h('a', { class: 'button small', href: playerLink(r.name) }, playIcon(), t(r.state.endsWith('FAILED') ? 'why' : 'play')) : null,
    ], { 'data-name': r.name });
    kept.set(r.name, { node, version: r.updateTime + r.state });
    return node;
  };
  const draw = () => {
    const all = [...model.recordings.values()].sort((a, b) => (b.recordTime || '').localeCompare(a.recordTime || ''));
    const on = all.filter((r) => !r.stopTime).length;
    form.refresh();
    const focused = document.activeElement?.closest('tr')?.dataset.name;
    const heading = h('h2', { id: 'now-title' }, t('now.title'), ' ', on > 0 && h('span', { class: 'count' }, on));
    if (!model.synced) fill(now, heading, h('p', { class: 'empty' }, t(model.link.state === 'connecting' ? 'loading' : 'link.cut')));
    else if (all.length === 0) fill(now, heading, h('p', { class: 'empty' }, t('now.empty'), ' ', settings.classroom && h('a', { href: '#/classroom' }, t('now.try'))));
    else replaceRows(now, heading, t('now.title'), nowColumns(), all.map(nowRow));
    // A row that was made anew takes the focus over.
    if (focused && !now.contains(document.activeElement)) [...now.querySelectorAll('tr')].find((r) => r.dataset.name === focused)?.querySelector('td:last-child > *, a')?.focus();

    const past = [...model.rooms.values()].filter((r) => !model.on(r.id)).sort((a, b) => b.last.localeCompare(a.last)).slice(0, 20);
    const columns = [[t('room'), 'grow top'], [t('lately.last'), ''], [t('lately.classes'), 'num'], ['', 'actions']];
    lately.hidden = past.length === 0;
    fill(lately, h('h2', { id: 'lately-title' }, t('lately.title')), table(t('lately.title'), columns, past.map((r) => row(columns, [
      h('a', { class: 'id strong', href: recordingsLink(r.id) }, r.id),
      h('span', { 'data-ago': r.last, title: new Date(r.last).toLocaleString() }, ago(r.last)),
      r.classes.size, h('a', { href: recordingsLink(r.id) }, t('nav.recordings'))]))));
    fill(feed, h('h2', { id: 'feed-title' }, t('events.title'), h('a', { class: 'more', href: '#/events' }, t('events.all'))), model.events.length === 0
      ? h('p', { class: 'empty' }, t('events.empty'))
      : h('ol', {}, model.events.slice(0, 40).map(feedItem)));
  };
  listen('change', signal, soon(draw, signal));
  draw();
  return { title: t('nav.rooms'), body: h('div', { class: 'columns' }, h('div', { class: 'stack' }, form, now, lately), h('aside', { class: 'stack' }, feed)) };
}

const nowColumns = () => [[t('room'), 'top'], [t('state'), 'top'], [t('length'), 'num'], [t('by'), 'grow'], [t('what'), 'what dim'], ['', 'actions']];

// replaceRows changes only what is another, so that the focus stays where it is.
function replaceRows(section, heading, caption, columns, rows) {
  const body = section.querySelector('tbody');
  if (!body) {
    fill(section, heading, table(caption, columns, rows));
    return;
  }
  section.querySelector('h2').replaceWith(heading);
  for (const node of [...body.children]) if (!rows.includes(node)) node.remove();
  rows.forEach((node, i) => { if (body.children[i] !== node) body.insertBefore(node, body.children[i] || null); });
}

// soon calls a function once for what happens within a moment.
function soon(draw, signal) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    setTimeout(() => { asked = false; if (!signal.aborted) draw(); }, 50);
  };
}

function feedItem(e) {
  const begun = e.action === 'CLASS_BEGIN_ACTION_ADD';
  return h('li', { class: begun ? 'add' : 'remove' },
    h('span', { class: 'mark', 'aria-hidden': 'true' }),
    h('div', {}, h('a', { href: e.recording.name ? playerLink(e.recording.name) : recordingsLink(e.room) }, t(begun ? 'event.began' : 'event.ended', { room: e.room })),
      h('div', { class: 'dim' }, [e.fromUserId && h('span', { class: 'id', title: e.fromUserId }, e.fromUserId), e.inList && t('event.inlist')].filter(Boolean).flatMap((x, i) => (i ? [' · ', x] : [x])))),
    time(e.time));
}

// events follows one room, or all of them, and shows every event with what it carries.
export function events(signal, parameters) {
  const room = h('input', { name: 'room', maxlength: 128, autocomplete: 'off', spellcheck: 'false', value: parameters.get('room') || '', placeholder: t('events.room.all') });
  const password = h('input', { type: 'password', name: 'password', maxlength: 256, autocomplete: 'off' });
  const state = h('span', { class: 'dim', role: 'status' });
  const wrong = h('div', { role: 'alert' });
  const place = h('section', { class: 'panel', 'aria-label': t('events.title') });
  const columns = [[t('room'), 'top'], [t('event'), 'top'], [t('time'), ''], [t('by'), 'by'], [t('events.data'), 'data'], [t('events.sequence'), 'num dim']];
  const eventRow = (e) => row(columns, [
    h('a', { class: 'id strong', href: recordingsLink(e.room) }, e.room),
    h('a', { href: playerLink(e.recording.name), class: `event ${e.action.endsWith('ADD') ? 'add' : 'remove'}` }, h('span', { class: 'mark', 'aria-hidden': 'true' }),
      t(e.action.endsWith('ADD') ? 'event.begin' : 'event.end'), e.inList ? ` (${t('event.inlist')})` : ''), time(e.time),
    h('span', { class: 'id cut', title: e.fromUserId }, e.fromUserId || '–'), e.data ? h('code', {}, e.data) : h('span', { class: 'dim' }, endWord(e.recording)), e.sequence]);
  let own = null; // ends the watch of one room

  const begin = () => {
    own?.abort();
    own = new AbortController();
    const end = AbortSignal.any([signal, own.signal]);
    const id = room.value.trim();
    problem(wrong, null);
    if (!id) {
      const draw = () => {
        fill(state, t(`link.${model.link.state}`));
        fill(place, model.events.length === 0 ? h('p', { class: 'empty' }, t('events.empty')) : table(t('events.title'), columns, model.events.map(eventRow)));
      };
      listen('change', end, soon(draw, end));
      draw();
      return;
    }
    const rows = [];
    const draw = () => fill(place, rows.length === 0 ? h('p', { class: 'empty' }, t('events.waiting', { room: id })) : table(t('events.title'), columns, rows));
    const drawSoon = soon(draw, end);
    const seen = new Set();
    fill(state, t('link.connecting'));
    draw();
    api.watch({ room: id, password: password.value, history: 1000, signal: end }, {
      event: (e) => {
        if (seen.has(e.sequence)) return;
        seen.add(e.sequence);
        rows.unshift(eventRow(e));
        rows.length = Math.min(rows.length, 500);
        drawSoon();
      },
      synced: drawSoon,
      connected: () => state.textContent !== t('link.live') && fill(state, t('link.live')),
      cut: () => fill(state, t('link.cut')),
      failed: (error) => { fill(state, t('link.failed')); problem(wrong, error); },
    });
  };
  begin();
  const form = h('form', { class: 'panel filter', onsubmit: (e) => { e.preventDefault(); begin(); } },
    field(t('room'), room), field(t('start.password'), password),
    h('div', { class: 'buttons' }, h('button', { type: 'submit' }, t('events.follow')), state),
    h('p', { class: 'hint wide' }, t('events.hint')), wrong);
  return { title: t('nav.events'), body: h('div', { class: 'stack' }, form, place) };
}

const pageSize = 25;

// recordings lists by room, by user, or the latest of the rooms that were seen lately.
export function recordings(signal, parameters) {
  const room = h('input', { name: 'room', maxlength: 128, autocomplete: 'off', spellcheck: 'false', value: parameters.get('room') || '' });
  const user = h('input', { name: 'user', maxlength: 128, autocomplete: 'off', spellcheck: 'false', value: parameters.get('user') || '' });
  const place = h('section', { class: 'panel', 'aria-live': 'off', 'aria-label': t('nav.recordings') });
  const wrong = h('div', { role: 'alert' });
  const query = { room: parameters.get('room') || '', userId: parameters.get('user') || '' };
  const filtered = Boolean(query.room || query.userId);
  const columns = [[t('room'), 'top'], [t('state'), 'top'], [t('began'), ''], [t('length'), 'num'], [t('size'), 'num'], [t('by'), 'grow'], [t('what'), 'what dim'], ['', 'actions']];
  const listed = new Map(); // rows by name

  const recordingRow = (r) => {
    const node = row(columns, [
      r.room ? h('a', { class: 'id strong', href: recordingsLink(r.room) }, r.room) : '–', chip(r), time(r.recordTime),
      longest(r) ? length(longest(r)) : r.stopTime || !r.recordTime ? '–' : live(r), size(totalSize(r)),
      h('span', { class: 'who' }, r.userId && h('a', { class: 'id cut', title: r.userId, href: '#/recordings?' + new URLSearchParams({ user: r.userId }) }, r.userId), h('span', { class: 'dim' }, originWord(r))),
      [what(r), r.files?.length > 0 && ` · ${t('files', { n: r.files.length })}`],
      h('a', { class: 'button small', href: r.name ? playerLink(r.name) : listedLink(r) }, /AVAILABLE$/.test(r.state) && r.files?.length ? [playIcon(), t('play')] : t('open')),
    ]);
    if (r.name) listed.set(r.name, node);
    return node;
  };
  listen('change', signal, soon(() => {
    for (const [name, node] of listed) {
      const r = model.recordings.get(name);
      if (r && node.dataset.version !== r.state + r.updateTime && node.isConnected && !node.contains(document.activeElement)) {
        const next = recordingRow(r);
        next.dataset.version = r.state + r.updateTime;
        node.replaceWith(next);
      }
    }
  }, signal));

  const show = (all, more) => {
    if (all.length === 0) {
      fill(place, h('p', { class: 'empty' }, t(filtered ? 'recordings.none' : 'recordings.choose')));
      return;
    }
    const body = place.querySelector('tbody');
    const rows = all.map(recordingRow);
    if (body) body.append(...rows);
    else fill(place, table(t('nav.recordings'), columns, rows));
    place.querySelector('.pager')?.remove();
    const count = place.querySelectorAll('tbody tr').length;
    place.append(h('div', { class: 'pager' }, h('span', { class: 'dim' }, t(filtered ? 'recordings.shown' : 'recordings.latest', { n: count })),
      more && h('button', { type: 'button', onclick: (e) => busy(e.target, () => load(more).then(() => rows.at(-1).nextElementSibling?.querySelector('a')?.focus())) }, t('recordings.more'))));
  };
  const load = async (pageToken) => {
    try {
      const page = await api.list({ ...query, pageSize, pageToken }, signal);
      show(page.recordings, page.nextPageToken);
      if (page.incomplete) problem(wrong, new api.ApiError(200, page.incomplete));
    } catch (error) {
      if (!signal.aborted) { problem(wrong, error); if (!pageToken) fill(place); }
    }
  };
  // The API lists by room or by user; without either, the latest of each room that was seen lately are put together.
  const loadLatest = async () => {
    const ids = [...model.rooms.values()].sort((a, b) => b.last.localeCompare(a.last)).slice(0, 12).map((r) => r.id);
    const pages = await Promise.all(ids.map((id) => api.list({ room: id, pageSize: 10 }, signal).catch((error) => ({ recordings: [], error }))));
    if (signal.aborted) return;
    const failed = pages.find((p) => p.error);
    const incomplete = pages.find((p) => p.incomplete);
    if (failed) problem(wrong, failed.error);
    else if (incomplete) problem(wrong, new api.ApiError(200, incomplete.incomplete));
    show(pages.flatMap((p) => p.recordings).sort((a, b) => (b.recordTime || '').localeCompare(a.recordTime || '')).slice(0, pageSize));
  };
  fill(place, h('p', { class: 'empty' }, t('loading')));
  if (filtered) load();
  else if (model.synced) loadLatest();
  else {
    const wait = new AbortController();
    listen('change', AbortSignal.any([signal, wait.signal]), () => {
      if (model.link.state === 'failed') problem(wrong, model.link.error);
      if (!model.synced) return;
      wait.abort();
      loadLatest();
    });
  }
  const form = h('form', { class: 'panel filter', role: 'search', onsubmit: (e) => {
    e.preventDefault();
    const next = new URLSearchParams();
    if (room.value.trim()) next.set('room', room.value.trim());
    if (user.value.trim()) next.set('user', user.value.trim());
    const to = '#/recordings' + (next.size ? `?${next}` : '');
    if (location.hash === to) dispatchEvent(new HashChangeEvent('hashchange'));
    else location.hash = to;
  } },
  field(t('room'), room), field(t('recordings.user'), user),
  h('div', { class: 'buttons' }, h('button', { type: 'submit' }, t('recordings.find')), filtered && h('a', { class: 'button quiet', href: '#/recordings' }, t('recordings.clear'))), wrong);
  return { title: t('nav.recordings'), body: h('div', { class: 'stack' }, form, place) };
}
