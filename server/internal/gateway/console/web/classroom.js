// SPDX-License-Identifier: Apache-2.0

// The classroom: a room of the embedded platform that one enters with camera and microphone, with the chat, and with the
// button that records it.

import { ask, check, field, fill, h, icon, select } from './dom.js';
import { chip, live } from './format.js';
import { t } from './i18n.js';
import { model } from './model.js';
import { busy, problem, stopButton } from './start.js';
import { playerLink } from './views.js';
import { Member, checkRoom, publish, roles } from './signaling.js';
import * as api from './api.js';

const rememberedName = 'classrec.nickname';

// explained says in words why camera, room or media are not to be had.
function explained(error) {
  const key = { NotAllowedError: 'camera.denied', NotFoundError: 'camera.none', NotReadableError: 'camera.busy', 4007: 'room.none', 4008: 'room.password', 401: 'room.password' }[error.code >= 400 ? error.code : error.name];
  return Object.assign(new Error(error.message), { words: key && t(key) });
}

// classroom is the view: first the door, then the room. It is not left without a question while the class is on.
export function classroom(signal, parameters) {
  const body = h('div', {});
  let on = null; // says whether a class would lose us
  const door = entrance(parameters, async (options) => {
    const room = await enter(options, signal, () => { on = null; fill(body, door); });
    on = room.on;
    fill(body, room.inside);
    room.inside.querySelector('h2').focus();
  });
  fill(body, door);
  return { title: t('nav.classroom'), body, mayLeave: () => !on?.() || ask(t('leaving.title'), t('leaving.text'), t('leaving.stay'), t('classroom.leave')) };
}

// entrance is the form before the door.
function entrance(parameters, go) {
  const controls = {
    room: h('input', { name: 'room', required: true, maxlength: 128, autocomplete: 'off', spellcheck: 'false', value: parameters.get('room') || '', placeholder: t('start.room.example') }),
    name: h('input', { name: 'nickname', required: true, maxlength: 64, autocomplete: 'nickname', value: localStorage.getItem(rememberedName) || '' }),
    role: select({ name: 'role' }, Object.keys(roles).map((r) => [r, t(`role.${r}`)]), 'teacher'),
    password: h('input', { type: 'password', name: 'password', maxlength: 256, autocomplete: 'off' }),
    camera: h('input', { type: 'checkbox', name: 'camera', checked: true }),
    microphone: h('input', { type: 'checkbox', name: 'microphone', checked: true }),
  };
  const wrong = h('div', { role: 'alert' });
  const button = h('button', { class: 'primary', type: 'submit' }, t('classroom.join'));
  if (!navigator.mediaDevices) {
    for (const c of [controls.camera, controls.microphone]) [c.checked, c.disabled] = [false, true];
    fill(wrong, h('div', { class: 'problem' }, t('camera.insecure')));
  }
  return h('form', { class: 'panel door', onsubmit: (e) => {
    e.preventDefault();
    localStorage.setItem(rememberedName, controls.name.value);
    busy(button, async () => {
      problem(wrong, null);
      try {
        await go({
          room: controls.room.value.trim(), nickname: controls.name.value.trim(), role: roles[controls.role.value], password: controls.password.value,
          camera: controls.camera.checked, microphone: controls.microphone.checked,
        });
      } catch (error) {
        problem(wrong, explained(error));
      }
    });
  } },
  h('p', { class: 'hint' }, t('classroom.about')),
  h('div', { class: 'grid' }, field(t('room'), controls.room), field(t('classroom.name'), controls.name), field(t('classroom.role'), controls.role), field(t('start.password'), controls.password)),
  h('div', { class: 'line wide' }, check(t('classroom.camera'), controls.camera), check(t('classroom.microphone'), controls.microphone), button),
  wrong);
}

// enter takes somebody into a room, and returns what is seen there (inside), and whether a class is on (on). Everything ends
// with signal, or by leaving.
async function enter(options, signal, left) {
  const { room, password, camera, microphone } = options;
  const stream = camera || microphone
    ? await navigator.mediaDevices.getUserMedia({ video: camera && { width: { ideal: 1280 }, height: { ideal: 720 } }, audio: microphone })
    : new MediaStream();
  const end = new AbortController();
  const both = AbortSignal.any([signal, end.signal]);
  let sending = null;
  const member = new Member({ room, userId: 'web-' + api.newId().slice(0, 8), nickname: options.nickname, role: options.role });
  const leave = () => {
    end.abort();
    Promise.resolve(sending?.close()).finally(() => member.leave()); // in this order: who leaves sends nothing any more
    for (const track of stream.getTracks()) track.stop();
  };
  try {
    member.role = await checkRoom(options);
    await member.join();
  } catch (error) {
    leave();
    throw error;
  }
  signal.addEventListener('abort', leave);
  addEventListener('pagehide', leave, { signal: both });
  const on = () => Boolean(model.on(room)) || member.classOn;
  addEventListener('beforeunload', (e) => on() && e.preventDefault(), { signal: both });

  const wrong = h('div', { role: 'alert' });
  const state = h('span', { class: 'link connecting', role: 'status' });
  let media = stream.getTracks().length ? 'connecting' : 'none';
  const drawState = () => {
    const key = !member.connected ? 'cut' : media === 'connected' || media === 'none' ? 'live' : media === 'failed' ? 'failed' : 'connecting';
    state.className = `link ${key}`;
    fill(state, h('span', { class: 'dot', 'aria-hidden': 'true' }), t(member.connected ? `media.${media}` : 'link.cut'));
  };
  // send publishes until it is told to stop; a connection that has failed is made anew.
  const send = async () => {
    for (let waits = 0; !both.aborted; waits++) {
      try {
        await new Promise((resolve, reject) => {
          both.addEventListener('abort', resolve);
          publish({ room, userId: member.userId, password, stream }, (now) => {
            media = now;
            drawState();
            if (now === 'connected') waits = 0;
            if (now === 'failed') resolve();
          }).then((made) => { if (both.aborted) made.close(); else sending = made; }, reject);
        });
        problem(wrong, null);
      } catch (error) {
        problem(wrong, explained(error));
        media = 'failed';
        drawState();
      }
      sending?.close();
      if (!both.aborted) await new Promise((resolve) => setTimeout(resolve, Math.min(15_000, 1000 * 2 ** waits)));
    }
  };
  member.addEventListener('link', drawState);
  member.addEventListener('evicted', () => { leave(); left(); });
  drawState();
  if (media !== 'none') send();

  const picture = h('video', { class: 'self', autoplay: true, playsinline: true, muted: true, srcObject: stream, 'aria-label': t('classroom.self') });
  picture.muted = true;
  const toggle = (kind, on, off, shape) => {
    const [track] = stream.getTracks().filter((x) => x.kind === kind);
    if (!track) return null;
    const button = h('button', { type: 'button', 'aria-pressed': 'true', onclick: () => {
      track.enabled = !track.enabled;
      button.setAttribute('aria-pressed', String(track.enabled));
      fill(button, icon(shape), t(track.enabled ? on : off));
    } }, icon(shape), t(on));
    return button;
  };
  const inside = h('div', { class: 'room' },
    h('section', { class: 'panel', 'aria-labelledby': 'room-title' },
      h('h2', { id: 'room-title', tabindex: '-1' }, t('classroom.in', { room }), state),
      camera ? h('div', { class: 'screen' }, picture) : h('p', { class: 'empty' }, t(microphone ? 'classroom.soundonly' : 'classroom.chatonly')),
      h('div', { class: 'line controls' },
        toggle('audio', 'classroom.mic.on', 'classroom.mic.off', 'M8 1.5a2 2 0 0 0-2 2v4a2 2 0 0 0 4 0v-4a2 2 0 0 0-2-2ZM3.5 7.5a4.5 4.5 0 0 0 9 0M8 12v2.5'),
        toggle('video', 'classroom.cam.on', 'classroom.cam.off', 'M1.5 4h8v8h-8zM9.5 7l5-2.5v7L9.5 9z'),
        h('button', { type: 'button', class: 'push', onclick: () => { leave(); left(); } }, t('classroom.leave'))),
      wrong),
    h('div', { class: 'stack' }, recorder(member, password, both), people(member, both), chat(member, both)));
  return { inside, on };
}

// recorder starts and stops the recording of the room, with the password that was given at the door.
function recorder(member, password, signal) {
  const { room } = member;
  const place = h('section', { class: 'panel', 'aria-labelledby': 'recorder-title' });
  const wrong = h('div', { role: 'alert' });
  let drawn = '';
  let mine = null; // the last recording of this room that was seen here
  const draw = () => {
    const on = model.on(room);
    if (on) mine = on.name;
    const last = mine && model.recordings.get(mine);
    const version = JSON.stringify([on?.name, on?.state, last?.state, member.classOn]);
    if (version === drawn) return;
    drawn = version;
    const focused = place.contains(document.activeElement);
    const start = h('button', { type: 'button', class: 'primary', onclick: () => busy(start, async () => {
      problem(wrong, null);
      try {
        model.put(await api.start(room, { format: 'RECORDING_FORMAT_WEBM', recordType: 'RECORD_TYPE_LIST', requestId: api.newId(), ...(password && { roomPassword: password }) }));
      } catch (error) {
        problem(wrong, error);
      }
    }) }, icon('M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2Z'), t('classroom.record'));
    const stop = on ? stopButton(on) : member.classOn && h('button', { type: 'button', onclick: () => busy(stop, async () => {
      try {
        model.put(await api.stopRoom(room, password));
      } catch (error) {
        problem(wrong, error);
      }
    }) }, t('stop'));
    fill(place, h('h2', { id: 'recorder-title' }, t('classroom.recording')),
      h('div', { class: 'line' }, on ? [chip(on), live(on), stop] : member.classOn ? [h('span', { class: 'chip recording' }, t('state.RECORDING')), stop] : start),
      last && last.stopTime && h('div', { class: 'line' }, chip(last), /AVAILABLE$/.test(last.state)
        ? h('a', { class: 'button', href: playerLink(last.name) }, icon('M4 2.5v11l9-5.5z'), t('play')) : h('a', { href: playerLink(last.name) }, t('open'))),
      !on && !last && h('p', { class: 'hint' }, t('classroom.hint')), wrong);
    if (focused) place.querySelector('button, a.button')?.focus();
  };
  model.addEventListener('change', draw, { signal });
  member.addEventListener('class', draw);
  draw();
  return place;
}

// people lists who is in the room.
function people(member, signal) {
  const list = h('ul', { class: 'people' });
  const count = h('span', { class: 'count' });
  const draw = () => {
    const all = [[member.userId, { name: `${member.nickname} (${t('classroom.you')})`, role: member.role }], ...member.people];
    fill(count, all.length);
    fill(list, all.map(([id, p]) => h('li', { title: id }, p.name, ' ', h('span', { class: 'dim' }, Object.keys(roles).filter((r) => roles[r] === p.role).map((r) => t(`role.${r}`))))));
  };
  member.addEventListener('people', draw, { signal });
  draw();
  return h('section', { class: 'panel', 'aria-labelledby': 'people-title' }, h('h2', { id: 'people-title' }, t('classroom.people'), ' ', count), list);
}

// chat shows what is said, and says it.
function chat(member, signal) {
  const log = h('ol', { class: 'log', role: 'log', 'aria-live': 'polite', 'aria-label': t('player.chat'), tabindex: '0' });
  const text = h('input', { name: 'message', maxlength: 1000, autocomplete: 'off', placeholder: t('chat.placeholder'), 'aria-label': t('chat.placeholder') });
  const wrong = h('div', { role: 'alert' });
  member.addEventListener('said', ({ detail: said }) => {
    log.append(h('li', { class: said.mine ? 'mine' : '' }, h('b', {}, said.name), ' ', said.text));
    if (log.childElementCount > 500) log.firstElementChild.remove();
    log.scrollTop = log.scrollHeight;
  }, { signal });
  const send = async (e) => {
    e.preventDefault();
    const words = text.value.trim();
    if (!words) return;
    try {
      await member.say(words);
      text.value = '';
      problem(wrong, null);
    } catch (error) {
      problem(wrong, error);
    }
  };
  return h('section', { class: 'panel chat', 'aria-labelledby': 'chat-title' }, h('h2', { id: 'chat-title' }, t('player.chat')), log,
    h('form', { class: 'line', onsubmit: send }, text, h('button', { type: 'submit' }, t('chat.send'))), wrong);
}
