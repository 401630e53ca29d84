// SPDX-License-Identifier: Apache-2.0

// The player: one recording with its files, played in the page, with the chat as subtitles and as a list to seek by.

import { base } from './base.js';
import { fill, h, icon } from './dom.js';
import { chip, decoded, endWord, formatWord, lasted, layoutWord, length, live, originWord, seconds, size, stateOf, time, totalSize, typeWord } from './format.js';
import { language, t } from './i18n.js';
import { model } from './model.js';
import { problem, stopButton } from './start.js';
import { settings } from './shell.js';
import * as api from './api.js';

// here is where the page fetches a file: what the embedded platform serves is at our own origin, whatever it is called
// by elsewhere.
function here(url) {
  const { classroom, filesBaseUrl } = settings;
  if (!classroom) return url;
  if (filesBaseUrl && url.startsWith(filesBaseUrl + '/')) return base + 'files' + url.slice(filesBaseUrl.length);
  const { pathname, search } = new URL(url, location.href);
  return pathname.startsWith('/files/') ? base + pathname.slice(1) + search : url;
}

const nameOf = (url) => decoded(new URL(url, location.href).pathname.split('/').pop()) || url;
const ofType = (f, type) => f.mediaType?.startsWith(type) || (!f.mediaType && type === 'video/' && /\.(mp4|webm|mkv)$/.test(nameOf(f.url)))
  || (!f.mediaType && type === 'audio/' && /\.(mp3|m4a)$/.test(nameOf(f.url)));

// renewed puts new URLs into files, whose own may have expired: asked are the files as the API names them now.
function renewed(files, asked) {
  const path = (f) => new URL(f.url, location.href).pathname;
  files.forEach((f, i) => {
    const same = [asked[i], ...asked].find((other) => other && path(other) === path(f));
    if (same) f.url = same.url;
  });
}

// stage shows one media file, and the chat with it, which has the times of the class: those of the file begin at its start
// offset. renew brings the URLs of both up to date.
function stage(file, chat, renew, signal) {
  const sound = ofType(file, 'audio/');
  const wrong = h('div', { role: 'alert' });
  const player = h('video', { controls: true, preload: 'metadata', playsinline: true, class: sound ? 'sound' : '', 'aria-label': nameOf(file.url), src: here(file.url) });
  const side = h('section', { class: 'chat', 'aria-label': t('player.chat') });
  const silent = () => signal.aborted || fill(side, h('h2', {}, t('player.chat')), h('p', { class: 'empty' }, t('player.nochat')));
  // A file that does not come gets a new URL, once until it has come again, and goes on where it was.
  let tried = false;
  const proceed = async () => {
    if (signal.aborted) return;
    if (tried) {
      fill(wrong, h('div', { class: 'problem' }, t('player.cannot', { name: nameOf(file.url) })));
      return;
    }
    tried = true;
    const { paused } = player; // the browser pauses it next
    try {
      await renew();
    } catch (error) {
      if (!signal.aborted) problem(wrong, error);
      return;
    }
    if (signal.aborted) return;
    const { currentTime, playbackRate } = player;
    player.addEventListener('loadedmetadata', () => { player.currentTime = currentTime; }, { once: true });
    player.addEventListener('seeked', () => { tried = false; }, { once: true });
    player.src = here(file.url);
    player.playbackRate = playbackRate;
    if (!paused) player.play().catch(() => {});
  };
  player.addEventListener('error', proceed);
  if (chat) {
    const track = h('track', { kind: 'subtitles', srclang: language, label: t('player.chat'), src: here(chat.url), default: true });
    player.append(track);
    track.addEventListener('load', () => {
      shift(track.track, seconds(file.startOffset || '0s'));
      lines(side, player, track.track);
    });
    track.addEventListener('error', () => renew().then(() => {
      track.addEventListener('error', silent);
      track.src = here(chat.url);
    }, silent), { once: true });
    track.track.mode = 'showing';
  }
  signal.addEventListener('abort', () => { player.pause(); player.removeAttribute('src'); player.load(); });
  return h('div', { class: chat ? 'stage' : 'stage alone' }, h('div', { class: 'screen' }, player, wrong), chat && side);
}

// downloadLink gets a new URL when it is used.
function downloadLink(file, renew) {
  let ready = false;
  const link = h('a', { class: 'button small', href: here(file.url), download: nameOf(file.url), rel: 'noreferrer', target: new URL(here(file.url), location.href).origin === location.origin ? null : '_blank', onclick: (e) => {
    if (ready) return;
    e.preventDefault();
    renew().catch(() => {}).then(() => { // without a new one, the old one may do
      link.href = here(file.url);
      ready = true;
      link.click();
      ready = false;
    });
  } }, icon('M8 1v8m0 0L4.5 5.5M8 9l3.5-3.5M2 14h12'), t('download'));
  return link;
}

// shift moves cues from the times of the class to those of a file that begins so many seconds after it. What was said
// before is at its beginning.
function shift(track, by) {
  if (!by) return;
  for (const cue of [...track.cues]) {
    const start = Math.max(cue.startTime - by, 0);
    cue.endTime = Math.max(cue.endTime - by, start + 1);
    cue.startTime = start;
  }
}

// lines lists what was said: each line seeks to its time, and the one that is shown now is marked.
function lines(side, player, track) {
  const cues = [...track.cues];
  const items = cues.map((cue) => {
    const text = cue.getCueAsHTML().textContent;
    const [, name, said] = /^([^:]*): ([^]*)$/.exec(text) || [null, '', text];
    return h('li', {}, h('button', { type: 'button', onclick: () => { player.currentTime = cue.startTime; } },
      h('span', { class: 'num dim' }, length(cue.startTime)), h('span', {}, name && h('b', {}, name), name && ' ', said)));
  });
  fill(side, h('h2', {}, t('player.chat'), ' ', h('span', { class: 'count' }, cues.length)), cues.length ? h('ol', {}, items) : h('p', { class: 'empty' }, t('player.silent')));
  track.addEventListener('cuechange', () => cues.forEach((cue, i) => {
    const active = [...(track.activeCues || [])].includes(cue);
    items[i].classList.toggle('active', active);
    if (active) side.querySelector('ol').scrollTop = items[i].offsetTop - side.querySelector('ol').offsetTop - 40;
  }));
}

// player is the view of one recording.
export function player(signal, name) {
  const body = h('div', { class: 'stack' });
  const room = name.startsWith('listed/') ? model.listed[Number(name.slice(7))]?.room || '?' : name.split('/')[1];
  let drawn = '';
  let playing = null; // the file on the stage
  let end = null; // ends the stage

  const draw = (r) => {
    const version = r.state + r.updateTime;
    if (version === drawn || (/AVAILABLE|FAILED/.test(drawn) && !/AVAILABLE|FAILED/.test(version))) return; // an event may tell of an earlier state
    drawn = version;
    const files = r.files || [];
    const media = files.filter((f) => ofType(f, 'video/') || ofType(f, 'audio/'));
    const chat = files.find((f) => ofType(f, 'text/vtt'));
    const shown = h('div', {});
    const list = h('section', { class: 'panel files', 'aria-labelledby': 'files-title' });
    let asking = null;
    // renew asks for the recording again, once for all who want it at the same time. One without a name cannot be asked for.
    const renew = () => {
      if (!r.name) return Promise.resolve();
      asking ||= api.get(r.name, signal).then((now) => renewed(files, now.files || [])).finally(() => { asking = null; });
      return asking;
    };
    const choose = (file, by) => {
      playing = file;
      end?.abort();
      end = new AbortController();
      fill(shown, stage(file, chat, renew, AbortSignal.any([signal, end.signal])));
      drawFiles();
      if (by) shown.querySelector('video').play().catch(() => {});
    };
    const drawFiles = () => fill(list, h('h2', { id: 'files-title' }, t('player.files'), ' ', totalSize(r) > 0 && h('span', { class: 'dim' }, size(totalSize(r)))), h('ul', {}, files.map((f) => {
      const plays = media.includes(f);
      return h('li', { class: f === playing ? 'playing' : '' },
        plays ? h('button', { type: 'button', class: 'quiet name', 'aria-pressed': String(f === playing), onclick: () => { choose(f, true); list.querySelector('[aria-pressed=true]').focus(); } }, icon('M4 2.5v11l9-5.5z'), h('span', { class: 'id' }, nameOf(f.url)))
          : h('span', { class: 'name id' }, nameOf(f.url)),
        h('span', { class: 'dim num' }, [f.duration && length(seconds(f.duration)), Number(f.size) > 0 && size(f.size)].filter(Boolean).join(' · ')),
        downloadLink(f, renew));
    })));
    fill(body, head(r),
      media.length > 0 ? shown : h('div', { class: 'panel' }, h('p', { class: 'empty' }, waiting(r))),
      h('div', { class: 'halves' }, facts(r), files.length > 0 && list));
    if (media.length > 0) choose(media[0]);
  };
  const load = async () => {
    if (name.startsWith('listed/')) {
      const r = model.listed[Number(name.slice('listed/'.length))];
      if (r) draw(r);
      else location.replace('#/recordings');
      return;
    }
    fill(body, h('p', { class: 'empty' }, t('loading')));
    try {
      const r = await api.get(name, signal);
      draw(r);
      if (!/AVAILABLE|FAILED/.test(r.state)) model.put(r);
    } catch (error) {
      if (signal.aborted) return;
      const wrong = h('div', { role: 'alert' });
      problem(wrong, error);
      fill(body, wrong, h('p', {}, h('a', { href: '#/recordings' }, t('nav.recordings'))));
    }
  };
  model.addEventListener('change', () => { const r = model.recordings.get(name); if (r && drawn) draw(r); }, { signal });
  load();
  return { title: t('player.title', { room }), body };
}

// waiting says why there is nothing to play.
function waiting(r) {
  switch (stateOf(r)) {
    case 'AVAILABLE': return t('player.nothing');
    case 'FAILED': return [h('strong', {}, t('player.failed')), h('br'), h('span', { lang: 'en' }, r.failure?.message || '')];
    case 'PROCESSING': return t('player.processing');
    default: return t('player.live');
  }
}

const head = (r) => h('p', { class: 'head' }, chip(r), r.recordTime && [time(r.recordTime, 'full'), r.stopTime ? h('span', { class: 'num' }, length(lasted(r))) : live(r)],
  !r.stopTime && stateOf(r) === 'RECORDING' && stopButton(r),
  r.room && h('a', { class: 'more', href: '#/recordings?' + new URLSearchParams({ room: r.room }) }, t('player.others')));

function facts(r) {
  const fact = (label, ...value) => value.some((v) => v && v !== ' ') && [h('dt', {}, label), h('dd', {}, value)];
  return h('section', { class: 'panel', 'aria-labelledby': 'facts-title' }, h('h2', { id: 'facts-title' }, t('player.facts')), h('dl', {},
    fact(t('player.name'), r.name && h('code', {}, r.name)), fact(t('by'), r.userId && h('span', { class: 'id' }, r.userId), ' ', h('span', { class: 'dim' }, originWord(r))),
    fact(t('began'), r.recordTime && time(r.recordTime, 'full')), fact(t('ended'), r.stopTime && time(r.stopTime, 'full'), ' ', r.stopTime && h('span', { class: 'dim' }, endWord(r))),
    fact(t('start.type'), typeWord(r)), fact(t('start.format'), formatWord(r)), r.recordType === 'RECORD_TYPE_MIX' && fact(t('start.layout'), layoutWord(r)),
    fact(t('player.chat'), t(r.recordChat ? 'yes' : 'no')), fact(t('start.limit'), r.maxDuration && length(seconds(r.maxDuration))),
    r.gaps?.length > 0 && fact(t('player.gaps'), h('ul', {}, r.gaps.map((g) => h('li', {}, time(g.startTime), ' – ', time(g.endTime), ' ', h('span', { lang: 'en' }, g.reason))))),
    r.failure && fact(t('player.failure'), h('span', { lang: 'en' }, r.failure.message))));
}
