// SPDX-License-Identifier: Apache-2.0

// h makes elements. Text is always text: nothing here parses HTML.

const svgNamespace = 'http://www.w3.org/2000/svg';

// h makes an element: on… are listeners, true sets an attribute without a value, false, null and undefined leave it out.
// Children are nodes, texts, or lists of these; false and null are left out.
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (key === 'value' || key === 'checked' || key === 'srcObject') node[key] = value;
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

// icon is a picture of one path in a box of 16 by 16, for decoration only.
export function icon(path) {
  const svg = document.createElementNS(svgNamespace, 'svg');
  for (const [key, value] of Object.entries({ viewBox: '0 0 16 16', class: 'icon', 'aria-hidden': 'true' })) svg.setAttribute(key, value);
  const shape = document.createElementNS(svgNamespace, 'path');
  shape.setAttribute('d', path);
  svg.append(shape);
  return svg;
}

// fill replaces what is in an element.
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

let ids = 0;

// field labels a control, with a hint below it, and a place for what is wrong with it.
export function field(label, control, hint) {
  control.id ||= 'f' + ++ids;
  const hintNode = hint && h('small', { id: control.id + '-hint', class: 'hint' }, hint);
  if (hint) control.setAttribute('aria-describedby', hintNode.id);
  return h('div', { class: 'field' }, h('label', { for: control.id }, label), control, hintNode);
}

// check is a field with a box to tick.
export function check(label, control, hint) {
  control.id ||= 'f' + ++ids;
  return h('div', { class: 'field check' }, control, h('label', { for: control.id }, label, hint && h('small', { class: 'hint' }, hint)));
}

// select is a choice: options are pairs of value and words.
export function select(props, options, chosen) {
  return h('select', props, options.map(([value, words]) => h('option', { value, selected: value === chosen }, words)));
}

// say tells what the page shows by itself to who does not see it.
export function say(text) {
  fill(document.getElementById('said'), text);
}

// announce shows a notice for a while: text, or a node, and another beside it.
export function announce(text, more) {
  const place = document.getElementById('notices');
  if (!place) return;
  const notice = h('div', { class: 'notice' }, h('span', {}, text), more);
  place.append(notice);
  setTimeout(() => notice.remove(), 12000);
}

// ask asks a question before something that has no way back, and resolves to whether it is to be done.
export function ask(title, text, no, yes) {
  return new Promise((resolve) => {
    const stay = h('button', { type: 'button', onclick: () => dialog.close() }, no);
    const dialog = h('dialog', { class: 'panel', 'aria-labelledby': 'ask-title', 'aria-describedby': 'ask-text', onclose: () => { dialog.remove(); resolve(dialog.returnValue === 'yes'); } },
      h('h2', { id: 'ask-title' }, title), h('p', { id: 'ask-text' }, text),
      h('div', { class: 'buttons' }, stay, h('button', { type: 'button', class: 'danger', onclick: () => dialog.close('yes') }, yes)));
    document.body.append(dialog);
    dialog.showModal();
    stay.focus();
  });
}
