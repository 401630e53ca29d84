// SPDX-License-Identifier: Apache-2.0

// The console: one page whose views are told apart by what is behind the # of its address.

import { base } from './base.js';
import { announce, fill, h, say } from './dom.js';
import { decoded, tick } from './format.js';
import { t } from './i18n.js';
import { model } from './model.js';
import { settings, shell } from './shell.js';
import { told } from './api.js';
import { events, player, playerLink, recordings, rooms } from './views.js';
import { classroom } from './classroom.js';

const main = h('main', { id: 'main', tabindex: '-1' });
const { mark, status } = shell(main);
let closing = new AbortController();
let shown = false;
let mayLeave = null; // of the view that is shown
let asking = false;

// A view is given its parameters and a signal that ends with it, and returns {title, body, mayLeave}. mayLeave, where there
// is one, may answer, or promise, that the view stays.
function show() {
  const [, path, query] = /^#?(\/[^?]*)?\??(.*)$/.exec(location.hash);
  const parts = (path || '/').slice(1).split('/').map(decoded);
  const parameters = new URLSearchParams(query);
  closing.abort();
  closing = new AbortController();
  const view = () => {
    switch (parts[0]) {
      case '': return rooms(closing.signal);
      case 'events': return events(closing.signal, parameters);
      case 'recordings': return parts.length > 1 ? player(closing.signal, parts.slice(1).join('/')) : recordings(closing.signal, parameters);
      case 'classroom': if (settings.classroom) return classroom(closing.signal, parameters);
      // falls through
      default: return { title: t('missing.title'), body: h('p', { class: 'empty' }, t('missing.text'), ' ', h('a', { href: '#/' }, t('nav.rooms'))) };
    }
  };
  const { title, body, mayLeave: asks } = view();
  mayLeave = asks;
  document.querySelectorAll('.notice').forEach((n) => n.remove());
  document.title = `${title} · classrec`;
  mark(base + '#/' + parts[0]);
  fill(main, h('h1', {}, title), body);
  if (shown) { // not when the page has just been opened: the reader is at its beginning
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  shown = true;
}

// leave shows what the address has become, or makes it again what it was.
async function leave({ oldURL }) {
  if (asking) return;
  asking = true;
  const go = !mayLeave || await mayLeave();
  asking = false;
  if (go) show();
  else history.replaceState(null, '', oldURL);
}

function showLink() {
  const { state, error } = model.link;
  status.className = `link ${state}`;
  status.title = error ? told(error).filter(Boolean).join(' ') : '';
  const text = t(`link.${state}`);
  if (status.textContent !== text) fill(status, h('span', { class: 'dot', 'aria-hidden': 'true' }), h('span', { class: 'words' }, text));
}

model.addEventListener('change', showLink);
model.addEventListener('event', ({ detail: e }) =>
  say(t(e.action === 'CLASS_BEGIN_ACTION_ADD' ? 'notice.began' : 'notice.ended', { room: e.room })));
model.addEventListener('ready', ({ detail: r }) => {
  const failed = r.state === 'RECORDING_STATE_FAILED';
  const text = t(failed ? 'notice.failed' : 'notice.ready', { room: r.room });
  const seen = location.hash === playerLink(r.name) || [...main.querySelectorAll('a')].some((a) => a.getAttribute('href') === playerLink(r.name));
  if (seen) say(text);
  else announce(text, h('a', { href: playerLink(r.name) }, t(failed ? 'why' : 'play')));
});
addEventListener('hashchange', leave);
setInterval(tick, 500);
showLink();
show();
model.follow(new AbortController().signal);
