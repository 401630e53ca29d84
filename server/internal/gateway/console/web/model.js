// SPDX-License-Identifier: Apache-2.0

// What the pages know of the rooms, from the event log: the classes that are on, the latest events, and the rooms that
// they were in. One watch of all rooms feeds it, for as long as the page is open.

import * as api from './api.js';
import { stateOf } from './format.js';

const history = 1000; // sequences to look back: some hundred classes
const keptEvents = 300;
const final = new Set(['AVAILABLE', 'FAILED']);

// EventTarget: "change" when anything below is another, "event" (detail: the event) when one happens now, "ready"
// (detail: the recording) when a recording that was seen to end has reached its end.
class Model extends EventTarget {
  rooms = new Map(); // by id: {id, last: time of the last event, classes: how many were seen}
  recordings = new Map(); // by name: those that are on, or were seen to end since the page was opened
  events = []; // newest first
  listed = []; // recordings without a name, to be found again by their place
  asking = new Set(); // names of those that finish asks for
  synced = false;
  link = { state: 'connecting' }; // connecting, live, cut (with error), failed (with error)

  changed() {
    this.dispatchEvent(new Event('change'));
  }

  // follow feeds the model until signal ends.
  follow(signal) {
    this.signal = signal;
    api.watch({ room: '-', history, signal }, {
      event: (e) => this.take(e),
      synced: () => { this.synced = true; this.changed(); },
      connected: () => this.setLink({ state: 'live' }),
      cut: (error, wait) => this.setLink({ state: 'cut', error, wait }),
      failed: (error) => this.setLink({ state: 'failed', error }),
    });
  }

  setLink(link) {
    if (link.state === 'live' && this.link.state === 'live') return;
    this.link = link;
    this.changed();
  }

  take(e) {
    const r = e.recording;
    const room = this.rooms.get(e.room) || { id: e.room, last: '', classes: new Set() };
    if (e.time > room.last) room.last = e.time;
    room.classes.add(r.name);
    this.rooms.set(e.room, room);
    if (!this.events.some((known) => known.sequence === e.sequence)) {
      const at = this.events.findIndex((known) => BigInt(known.sequence) < BigInt(e.sequence));
      this.events.splice(at < 0 ? this.events.length : at, 0, e);
      this.events.length = Math.min(this.events.length, keptEvents);
    }
    if (e.action === 'CLASS_BEGIN_ACTION_ADD') {
      if (!this.ended(r.name)) this.recordings.set(r.name, r);
    } else if (this.synced) {
      this.recordings.set(r.name, r);
      this.finish(r.name);
    } else {
      this.recordings.delete(r.name);
    }
    if (this.synced) this.dispatchEvent(new CustomEvent('event', { detail: e }));
    this.changed();
  }

  ended(name) {
    const known = this.recordings.get(name);
    return known && known.stopTime;
  }

  // put takes a recording that a call has answered with.
  put(r) {
    if (!r.name) return;
    if (!this.rooms.has(r.room)) this.rooms.set(r.room, { id: r.room, last: r.recordTime, classes: new Set([r.name]) });
    this.recordings.set(r.name, r);
    if (r.stopTime) this.finish(r.name);
    this.changed();
  }

  // finish asks for a recording that is over until it is final.
  async finish(name) {
    if (final.has(stateOf(this.recordings.get(name))) || this.asking.has(name)) return;
    this.asking.add(name);
    try {
      for (let wait = 300; !this.signal.aborted; wait = Math.min(5000, wait * 1.5)) {
        await new Promise((resolve) => setTimeout(resolve, wait));
        const r = await api.get(name, this.signal).catch(() => null);
        if (!r) continue;
        this.recordings.set(name, r);
        this.changed();
        if (final.has(stateOf(r))) {
          this.dispatchEvent(new CustomEvent('ready', { detail: r }));
          return;
        }
      }
    } finally {
      this.asking.delete(name);
    }
  }

  // on returns the class that is on in a room.
  on(room) {
    return [...this.recordings.values()].find((r) => r.room === room && !r.stopTime && !final.has(stateOf(r)));
  }
}

export const model = new Model();
