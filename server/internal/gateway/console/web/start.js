// SPDX-License-Identifier: Apache-2.0

// The form that starts and stops recordings, and the button that stops one.

import { announce, check, field, fill, h, icon, select } from './dom.js';
import { t } from './i18n.js';
import { model } from './model.js';
import * as api from './api.js';

const formats = ['WEBM', 'MKV', 'MP4'];
const types = ['LIST', 'FILE', 'MIX', 'MP3'];
const layouts = ['LANDSCAPE', 'PORTRAIT'];

// explanation is an error in words; those that are English in any language are marked as such.
function explanation(error) {
  const [text, english] = api.told(error);
  return h('span', {}, text, text && english && ' ', english && h('span', { lang: 'en' }, text ? `(${english})` : english));
}

// problem shows an error in words at place, and marks the controls that it is about.
export function problem(place, error, controls = {}) {
  for (const control of Object.values(controls)) control.removeAttribute('aria-invalid');
  if (!error) {
    fill(place);
    return;
  }
  const reason = error.reason && h('code', {}, error.reason);
  const live = error.reason === 'CLASS_ALREADY_BEGUN' && error.metadata.recording;
  fill(place, h('div', { class: 'problem' }, explanation(error), ' ', reason,
    (error.fields || []).map((f) => h('div', {}, h('code', {}, f.field), ' ', h('span', { lang: 'en' }, f.description))),
    live && h('div', {}, t('error.live'), ' ', h('code', {}, live))));
  let first = null;
  for (const f of error.fields || []) {
    const control = controls[f.field];
    if (!control) continue;
    control.setAttribute('aria-invalid', 'true');
    control.closest('details')?.setAttribute('open', '');
    first ||= control;
  }
  first?.focus();
}

// busy makes a button unusable while work is done, and returns its result.
export async function busy(button, work) {
  button.disabled = true;
  button.setAttribute('aria-busy', 'true');
  try {
    return await work();
  } finally {
    button.disabled = false;
    button.removeAttribute('aria-busy');
  }
}

// startForm starts a recording, or stops what is on in a room.
export function startForm() {
  const list = h('datalist', { id: 'known-rooms' });
  const controls = {
    room: h('input', { name: 'room', required: true, maxlength: 128, list: 'known-rooms', autocomplete: 'off', spellcheck: 'false', placeholder: t('start.room.example') }),
    format: select({ name: 'format' }, formats.map((v) => [`RECORDING_FORMAT_${v}`, t(`format.${v}`)])),
    record_type: select({ name: 'recordType' }, types.map((v) => [`RECORD_TYPE_${v}`, t(`type.${v}`)])),
    layout: select({ name: 'layout' }, layouts.map((v) => [`RECORDING_LAYOUT_${v}`, t(`layout.${v}`)])),
    record_chat: h('input', { type: 'checkbox', name: 'recordChat', checked: true }),
    max_duration: h('input', { type: 'number', name: 'maxDuration', min: 1, max: 1440, step: 1, inputmode: 'numeric', placeholder: t('start.limit.none') }),
    nickname: h('input', { name: 'nickname', maxlength: 256, autocomplete: 'off', placeholder: 'classrec' }),
    user_id: h('input', { name: 'userId', maxlength: 128, autocomplete: 'off', spellcheck: 'false', placeholder: t('start.user.made') }),
    room_password: h('input', { type: 'password', name: 'roomPassword', maxlength: 256, autocomplete: 'off' }),
    request_id: h('input', { name: 'requestId', maxlength: 128, autocomplete: 'off', spellcheck: 'false', placeholder: t('start.request.made') }),
  };
  const hint = h('p', { class: 'hint ffmpeg' });
  const consider = () => {
    const [format, type] = [controls.format.value, controls.record_type.value];
    const mixed = /MIX|MP3/.test(type);
    controls.layout.disabled = !type.endsWith('MIX');
    controls.format.disabled = mixed;
    fill(hint, mixed || format.endsWith('MP4') ? t('start.ffmpeg') : type.endsWith('FILE') ? t('start.file') : format.endsWith('MKV') ? t('start.mkv') : '');
  };
  for (const c of [controls.format, controls.record_type]) c.addEventListener('change', consider);
  consider();

  const wrong = h('div', { role: 'alert' });
  const startButton = h('button', { class: 'primary', type: 'submit' }, icon('M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2Z'), t('start.start'));
  const stopClass = twice({}, 'start.stop', () => attempt(stopClass, () => api.stopRoom(controls.room.value.trim(), controls.room_password.value)), () => controls.room.reportValidity());
  const form = h('form', { class: 'panel start', 'aria-labelledby': 'start-title' },
    h('h2', { id: 'start-title' }, t('start.title')),
    h('div', { class: 'line' }, field(t('start.room'), controls.room), list,
      h('div', { class: 'buttons' }, startButton, stopClass)), wrong,
    h('details', {}, h('summary', {}, t('start.options')),
      h('div', { class: 'grid' },
        field(t('start.type'), controls.record_type), field(t('start.format'), controls.format), field(t('start.layout'), controls.layout),
        field(t('start.limit'), controls.max_duration), field(t('start.password'), controls.room_password), field(t('start.nickname'), controls.nickname),
        field(t('start.user'), controls.user_id), field(t('start.request'), controls.request_id),
        check(t('start.chat'), controls.record_chat)),
      hint));

  const options = () => {
    const body = { recordChat: controls.record_chat.checked };
    for (const c of [controls.format, controls.record_type, controls.layout]) if (!c.disabled) body[c.name] = c.value;
    for (const c of [controls.nickname, controls.user_id, controls.room_password, controls.request_id]) if (c.value) body[c.name] = c.value;
    if (controls.max_duration.value) body.maxDuration = controls.max_duration.value * 60 + 's';
    body.requestId ||= api.newId();
    return body;
  };
  const attempt = (button, work) => busy(button, async () => {
    problem(wrong, null, controls);
    try {
      model.put(await work());
      controls.request_id.value = '';
    } catch (error) {
      problem(wrong, error, controls);
    }
  });
  form.addEventListener('submit', (e) => {
    e.preventDefault();
    attempt(startButton, () => api.start(controls.room.value.trim(), options()));
  });
  form.refresh = () => {
    const ids = [...model.rooms.keys()].slice(-100);
    if (list.childElementCount !== ids.length) fill(list, ids.map((id) => h('option', { value: id })));
  };
  return form;
}

// twice makes a button that acts when it is pressed twice, because there is no way back. ready may refuse the first.
function twice(props, label, act, ready = () => true) {
  const button = h('button', { type: 'button', ...props });
  let sure = false;
  const words = (key) => fill(button, icon('M3 3h10v10H3z'), t(key));
  const calm = () => {
    sure = false;
    button.classList.remove('danger');
    words(label);
  };
  calm();
  button.addEventListener('blur', calm);
  button.addEventListener('keydown', (e) => e.key === 'Escape' && calm());
  button.addEventListener('click', () => {
    if (!ready()) return;
    if (!sure) {
      sure = true;
      button.classList.add('danger');
      words('stop.sure');
      return;
    }
    busy(button, act).finally(calm);
  });
  return button;
}

// stopButton ends a recording.
export const stopButton = (r) => twice({ class: 'small' }, 'stop', () =>
  api.stop(r.name).then((stopped) => model.put(stopped), (error) => announce(explanation(error))));
