// SPDX-License-Identifier: Apache-2.0

// Control lets the tests drive a page: it takes calls {id, method, args} from /next, and says answers and events to /said,
// in order.
'use strict';

const control = (() => {
  let saying = Promise.resolve();
  const say = (what) => {
    saying = saying.then(() => fetch('/said', { method: 'POST', body: JSON.stringify(what) })).catch(() => {});
  };
  const tell = (event, ...args) => say({ event, args });
  addEventListener('error', (e) => tell('page-error', String(e.message)));
  addEventListener('unhandledrejection', (e) => tell('page-error', String(e.reason)));

  async function serve(methods) {
    tell('ready');
    for (;;) {
      const { id, method, args } = await (await fetch('/next')).json();
      Promise.resolve().then(() => methods[method](...args)).then(
        (result) => say({ id, result: result === undefined ? null : result }),
        (e) => say({ id, error: String(e) }),
      );
    }
  }
  return { tell, serve: (methods) => serve(methods).catch(() => {}) }; // the test is over
})();
