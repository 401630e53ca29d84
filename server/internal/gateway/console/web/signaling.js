// SPDX-License-Identifier: Apache-2.0

// A participant of a room of the embedded platform: the vendor's wire (Socket.IO over WebSocket, and checkroom), as far as
// the classroom needs it, and WHIP for camera and microphone. All of it at the page's own origin.

import { base } from './base.js';

export const roles = { teacher: 0, assistant: 1, student: 2 };

// RefusedError says that the room server said no, with its code where it gave one.
export class RefusedError extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

// checkRoom asks whether one may enter a room, and as what: it returns the role.
export async function checkRoom({ room, password, nickname, role }) {
  const form = new URLSearchParams({ serial: room, password, nickname, userrole: role });
  const answer = await (await fetch(base + 'ClientAPI/checkroom', { method: 'POST', body: form })).json();
  if (Number(answer.result) !== 0) throw new RefusedError(`checkroom: ${answer.result}`, Number(answer.result));
  return Number(answer.roomrole);
}

// Socket is Socket.IO 4 over a WebSocket, one connection of it.
class Socket {
  constructor(handle, closed) {
    this.acks = new Map();
    this.next = 0;
    this.ws = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${base}socket.io/?EIO=4&transport=websocket`);
    this.ws.onclose = () => {
      for (const { reject } of this.acks.values()) reject(new RefusedError('connection lost'));
      closed();
    };
    this.open = new Promise((resolve, reject) => {
      this.ws.onerror = () => reject(new RefusedError('no connection'));
      this.ws.onmessage = ({ data }) => {
        if (data === '2') this.ws.send('3'); // heartbeat
        else if (data[0] === '0') this.ws.send('40');
        else if (data.startsWith('40')) resolve();
        else if (data.startsWith('44')) reject(new RefusedError(data.slice(2)));
        else if (data.startsWith('41')) this.close();
        else if (data.startsWith('42')) handle(...JSON.parse(data.slice(2).replace(/^\d*/, '')));
        else if (data.startsWith('43')) {
          const [, id, args] = /^43(\d+)([^]*)$/.exec(data);
          this.acks.get(Number(id))?.resolve(JSON.parse(args));
          this.acks.delete(Number(id));
        }
      };
    });
  }

  // emit sends an event and resolves to what its ack says; an ack ["error", why] is a RefusedError.
  async emit(event, payload) {
    const id = this.next++;
    const answer = new Promise((resolve, reject) => this.acks.set(id, { resolve, reject }));
    this.ws.send(`42${id}${JSON.stringify([event, payload])}`);
    const [code, body] = await answer;
    if (code === 'error') throw new RefusedError(body?.message || String(body), body?.code);
    return body;
  }

  close() {
    this.ws.close();
  }
}

const parsed = (value) => {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
};

// Member is somebody in a room. Its events: people (who is there), class (began or ended), said (detail: {from, name,
// text, mine}), link (connected or not), evicted (for good).
export class Member extends EventTarget {
  people = new Map(); // by id: {name, role}
  classOn = false;
  connected = false;

  constructor({ room, userId, nickname, role }) {
    super();
    Object.assign(this, { room, userId, nickname, role });
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  // join enters the room, and stays until leave: when the connection is lost it comes back.
  async join() {
    this.left = false;
    this.socket = new Socket((...event) => this.take(...event), () => this.lost());
    await this.socket.open;
    const body = await this.socket.emit('joinRoom', {
      userId: this.userId, roomId: this.room, version: 3,
      properties: { role: this.role, nickname: this.nickname, publishstate: 3, hasvideo: true, hasaudio: true },
    });
    this.people = new Map();
    for (const p of Object.values(parsed(body.userlist) || {})) this.enter(p);
    this.classOn = Object.values(parsed(body.msglist) || {}).some((m) => m.name === 'ClassBegin');
    this.connected = true;
    this.waits = 0;
    for (const name of ['people', 'class', 'link']) this.tell(name);
  }

  enter(p) {
    const properties = p.properties || {};
    this.people.set(p.id, { name: properties.nickname || p.id, role: Number(properties.role) });
  }

  take(event, payload) {
    const message = parsed(payload);
    switch (event) {
      case 'participantJoined': this.enter(message); this.tell('people'); break;
      case 'participantLeft': this.people.delete(typeof message === 'object' ? message.id : String(payload)); this.tell('people'); break;
      case 'pubMsg': case 'delMsg':
        if (message.name === 'ClassBegin') { this.classOn = event === 'pubMsg'; this.tell('class'); }
        break;
      case 'sendMessage': {
        const said = parsed(message.message);
        const from = message.fromID;
        this.tell('said', {
          from, mine: from === this.userId, name: from === this.userId ? this.nickname : message.nickname || this.people.get(from)?.name || from,
          text: typeof said === 'object' && said ? String(said.msg ?? '') : String(said),
        });
        break;
      }
      case 'participantEvicted': this.leave(); this.tell('evicted'); break;
      default:
    }
  }

  async lost() {
    if (this.left || !this.connected) return;
    this.connected = false;
    this.tell('link');
    while (!this.left && !this.connected) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(10_000, 500 * 2 ** this.waits++)));
      if (!this.left) await this.join().catch(() => {});
    }
  }

  // say sends a chat message to everybody.
  say(text) {
    return this.socket.emit('sendMessage', { toID: '__all', message: JSON.stringify({ msg: text }) });
  }

  leave() {
    this.left = true;
    this.connected = false;
    this.socket?.close();
  }
}

const gathering = 1500; // ms; a candidate that comes later is found by the server's checks

// publish sends a stream by WHIP (RFC 9725) until its close is called; state is told of every change of the connection.
export async function publish({ room, userId, password, stream }, state) {
  const pc = new RTCPeerConnection({ iceServers: [] });
  let session = null;
  let closed = null;
  const close = () => {
    // The server ends the connection, so that it knows the session when it is asked to.
    closed ||= session ? fetch(session, { method: 'DELETE', keepalive: true }).catch(() => {}).finally(() => pc.close()) : Promise.resolve(pc.close());
    return closed;
  };
  pc.onconnectionstatechange = () => state(pc.connectionState);
  try {
    for (const track of stream.getTracks()) pc.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
    await pc.setLocalDescription();
    await new Promise((resolve) => {
      if (pc.iceGatheringState === 'complete') resolve();
      pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && resolve();
      setTimeout(resolve, gathering);
    });
    const headers = { 'Content-Type': 'application/sdp' };
    if (password) headers.Authorization = `Bearer ${password}`;
    const answer = await fetch(`${base}whip/${encodeURIComponent(room)}/${encodeURIComponent(userId)}`, { method: 'POST', headers, body: pc.localDescription.sdp });
    if (answer.status !== 201) throw new RefusedError(`WHIP: ${(await answer.text()).trim()}`, answer.status);
    session = new URL(answer.headers.get('Location'), answer.url).href;
    await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  } catch (error) {
    close();
    throw error;
  }
  return { close, replace: (track) => pc.getSenders().find((s) => s.track?.kind === track.kind)?.replaceTrack(track) };
}
