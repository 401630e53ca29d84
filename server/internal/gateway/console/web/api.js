// SPDX-License-Identifier: Apache-2.0

// The public API, as these pages use it.

import { base } from './base.js';
import { has, t } from './i18n.js';
import { authorized, logIn } from './login.js';

// ApiError is a google.rpc.Status, or that there was no answer (reason NO_ANSWER).
export class ApiError extends Error {
  constructor(status, body) {
    super(body?.message || `HTTP ${status}`);
    this.status = status;
    for (const d of body?.details || []) {
      if (d.reason && d.domain) [this.reason, this.metadata] = [d.reason, d.metadata || {}];
      if (d.fieldViolations) this.fields = d.fieldViolations;
      if (d.retryDelay) this.retryAfter = parseFloat(d.retryDelay);
    }
    this.metadata ||= {};
    this.fields ||= [];
  }
}

// told says what went wrong, and why: in the reader's language as far as it is known, and what there is in English beside it.
export function told(error) {
  if (!(error instanceof ApiError)) return [error?.words || '', String(error?.message || error)];
  const key = `error.${error.reason}`;
  if (!has(key)) return ['', error.message];
  return [t(key, error.metadata), error.fields.length > 0 ? '' : error.message]; // fields are told one by one
}

async function request(path, options) {
  let answer;
  do {
    const headers = authorized(options.headers);
    try {
      answer = await fetch(path, { ...options, headers });
    } catch (e) {
      if (options.signal?.aborted) throw e;
      throw new ApiError(0, { message: e.message, details: [{ reason: 'NO_ANSWER', domain: 'console' }] });
    }
    if (answer.status === 401) await logIn(headers);
    options.signal?.throwIfAborted();
  } while (answer.status === 401);
  if (!answer.ok) throw new ApiError(answer.status, await answer.json().catch(() => null));
  return answer;
}

async function call(method, path, body, signal) {
  const answer = await request(path, {
    method, signal, headers: body ? { 'Content-Type': 'application/json' } : {}, body: body && JSON.stringify(body),
  });
  return answer.json();
}

const segment = encodeURIComponent;
const pathOf = (name) => base + 'v1/' + name.split('/').map(segment).join('/');

// newId makes an id that nobody else makes. (crypto.randomUUID is only for pages over https and of localhost.)
export const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');

export const start = async (room, options) => (await call('POST', `${base}v1/rooms/${segment(room)}/recordings`, options)).recording;
export const stop = async (name) => (await call('POST', `${pathOf(name)}:stop`, {})).recording;
export const stopRoom = async (room, roomPassword) =>
  (await call('POST', `${base}v1/rooms/${segment(room)}/recordings:stop`, roomPassword ? { roomPassword } : {})).recording;
export const get = async (name, signal) => (await call('GET', pathOf(name), null, signal)).recording;

// list asks for one page by room, by user, or by both.
export function list({ room, userId, pageSize, pageToken }, signal) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries({ userId, pageSize, pageToken })) if (value) query.set(key, value);
  return call('GET', (room ? `${base}v1/rooms/${segment(room)}/recordings` : base + 'v1/recordings') + (query.size ? `?${query}` : ''), null, signal);
}

const silence = 45_000; // three heartbeats

const sleep = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal?.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
});

// entries reads Server-Sent Events.
async function* entries(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
      const entry = { event: 'message', id: '', data: '' };
      for (const line of rest.slice(0, end).split('\n')) {
        const at = line.indexOf(': ');
        if (at > 0) entry[line.slice(0, at)] = line.slice(at + 2);
      }
      rest = rest.slice(end + 2);
      yield entry;
    }
  }
}

// watchOnce follows a room from a sequence (0: what is on now) until the stream ends, which it may never, and hands each
// entry to take; take ends it by answering false. It is fetch and not an EventSource, which hides why a stream is refused.
async function watchOnce(room, after, password, signal, take) {
  const quiet = new AbortController();
  let timer = setTimeout(() => quiet.abort(), silence);
  const both = AbortSignal.any([signal, quiet.signal]);
  const headers = { Accept: 'text/event-stream' };
  if (after) headers['Last-Event-ID'] = after;
  const options = { headers, signal: both };
  if (password) {
    Object.assign(options, { method: 'POST', body: JSON.stringify({ roomPassword: password }) });
    headers['Content-Type'] = 'application/json';
  }
  try {
    const answer = await request(`${base}v1/rooms/${segment(room)}/classBegin:watch`, options);
    for await (const { event, id, data } of entries(answer.body)) {
      clearTimeout(timer);
      timer = setTimeout(() => quiet.abort(), silence);
      if (event === 'error') throw new ApiError(200, JSON.parse(data));
      if (take(event, JSON.parse(data), id) === false) break;
    }
  } catch (e) {
    if (!quiet.signal.aborted || signal.aborted) throw e;
  } finally {
    clearTimeout(timer);
    quiet.abort();
  }
}

// watch follows a room (- for all) until signal ends it. history is how far to look back, in sequences. It comes back by
// itself after a cut, where it was; what cannot be mended is given to failed, and ends it.
//
// listener: event(event), the class events in order; synced(), when what was there before has been told; connected();
// cut(error, seconds), after which it tries again; failed(error).
export async function watch({ room, password, history = 0, signal }, listener) {
  let after = '';
  let waits = 0;
  let begun = !history;
  const take = (kind, message, id) => {
    if (!begun && kind === 'synced') {
      begun = true;
      after = String(Math.max(1, Number(id) - history));
      return false;
    }
    waits = 0;
    if (begun) after = id; // what is on now is told again by the history
    if (kind === 'add' || kind === 'remove') listener.event(message.event);
    else if (kind === 'synced') listener.synced();
    return true;
  };
  while (!signal.aborted) {
    let error = null;
    const was = begun;
    try {
      await watchOnce(room, after, password, signal, (...entry) => { listener.connected(); return take(...entry); });
    } catch (e) {
      error = e;
    }
    if (signal.aborted) return;
    if (begun && !was) continue; // on with the history
    if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429) {
      if (error.reason === 'SEQUENCE_TOO_OLD' && error.metadata.oldest_sequence) {
        after = error.metadata.oldest_sequence;
        if (waits++ < 3) continue;
      } else if (error.reason === 'SEQUENCE_UNKNOWN' && waits++ < 3) {
        after = ''; // another log than the one that we knew
        continue;
      }
      listener.failed(error);
      return;
    }
    if (error?.metadata?.resume_sequence) after = error.metadata.resume_sequence;
    const wait = error?.retryAfter || Math.min(15, 2 ** waits++);
    listener.cut(error, wait);
    await sleep(wait * 1000 * (0.8 + Math.random() * 0.4), signal);
  }
}
