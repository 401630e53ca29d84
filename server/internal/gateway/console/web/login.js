// SPDX-License-Identifier: Apache-2.0

// Who asks: an API token or a JSON Web Token. It is kept for this tab alone, and sent in a header that this page sets: never
// in a cookie, which a page of another origin could use, and never in an address, which is written down everywhere.

import { field, h } from './dom.js';
import { t } from './i18n.js';

const kept = 'classrec.token';

// authorized adds the token to headers, where there is one.
export function authorized(headers = {}) {
  const token = sessionStorage.getItem(kept);
  return token ? { ...headers, Authorization: `Bearer ${token}` } : headers;
}

export const loggedIn = () => sessionStorage.getItem(kept) !== null;

export function logOut() {
  sessionStorage.removeItem(kept);
  location.reload();
}

let asking = null;

// logIn asks for a token, once for all who want it at the same time. used are the headers that were refused: whoever comes
// with old ones has only to try again.
export function logIn(used) {
  if (authorized().Authorization !== used?.Authorization) return Promise.resolve();
  asking ||= new Promise((resolve) => {
    const token = h('input', { name: 'token', type: 'password', required: true, autocomplete: 'off', spellcheck: 'false' });
    const dialog = h('dialog', { class: 'panel login', 'aria-labelledby': 'login-title' },
      h('form', { onsubmit: (e) => {
        e.preventDefault();
        sessionStorage.setItem(kept, token.value.trim());
        dialog.remove();
        asking = null;
        dispatchEvent(new Event('login'));
        resolve();
      } },
        h('h2', { id: 'login-title' }, t('login.title')),
        loggedIn() && h('div', { class: 'problem', role: 'alert' }, t('login.refused')),
        field(t('login.token'), token, t('login.hint').split('`').map((piece, i) => (i % 2 ? h('code', {}, piece) : piece))),
        h('div', { class: 'buttons' }, h('button', { class: 'primary', type: 'submit' }, t('login.enter')))));
    dialog.addEventListener('cancel', (e) => e.preventDefault()); // nothing can be seen without
    document.body.append(dialog);
    dialog.showModal();
    token.focus();
  });
  return asking;
}
