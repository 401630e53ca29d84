// SPDX-License-Identifier: Apache-2.0

// What stands around every page: the header with its links, and the place for notices.

import { base } from './base.js';
import { h, fill } from './dom.js';
import { changeLanguage, language, t } from './i18n.js';
import { logOut, loggedIn } from './login.js';

export const settings = await (await fetch(base + 'console/settings.json')).json();

// links are the pages: path, words, and whether the page is there.
const links = () => [
  [base + '#/', 'nav.rooms', true],
  [base + '#/events', 'nav.events', true],
  [base + '#/recordings', 'nav.recordings', true],
  [base + '#/classroom', 'nav.classroom', settings.classroom],
  [base + 'docs', 'nav.api', true],
];

// shell builds the page around main, and returns mark(path), which marks the link of the page that is shown, and status,
// where the state of the connection is told.
export function shell(main) {
  const nav = h('nav', { 'aria-label': t('nav.label') });
  const status = h('div', { class: 'link', role: 'status' });
  const out = h('button', { class: 'quiet', type: 'button', hidden: !loggedIn(), onclick: logOut }, t('login.out'));
  addEventListener('login', () => { out.hidden = false; });
  document.body.append(
    h('a', { class: 'skip', href: '#main', onclick: (e) => { e.preventDefault(); main.focus(); } }, t('nav.skip')),
    h('header', {},
      h('a', { class: 'brand', href: base + '#/' }, h('span', { class: 'mark', 'aria-hidden': 'true' }), 'classrec'),
      nav,
      status,
      out,
      h('button', { class: 'quiet', type: 'button', lang: language === 'zh' ? 'en' : 'zh-CN', onclick: changeLanguage }, t('nav.language'))),
    main,
    h('div', { id: 'notices', role: 'status', 'aria-live': 'polite' }),
    h('div', { id: 'said', class: 'unseen', role: 'status', 'aria-live': 'polite' }));
  const mark = (path) => fill(nav, links().filter((l) => l[2]).map(([href, words]) =>
    h('a', { href, 'aria-current': href === path ? 'page' : null }, t(words))));
  return { mark, status };
}
