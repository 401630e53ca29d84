// SPDX-License-Identifier: Apache-2.0

// RoomClient does on the wire, step by step, what the vendor's web SDK 2.2.0.8 does, down to its oddities: forms that are
// not encoded, a synchronous request before the socket, the null after some payloads. It runs in a browser and in Node.
//
// It is given a host: io (the reference socket.io client), request(method, url, body, sync), which resolves to the
// answer's text, options for io, and tell(event, ...args), which gets the SDK's own events.
(function (root, make) {
  if (typeof module === 'object' && module.exports) module.exports = make();
  else root.RoomClient = make();
})(typeof self === 'object' ? self : this, function () {
  'use strict';

  // The values are not percent-encoded: so does the SDK.
  const form = (fields) => Object.keys(fields).map((key) => key + '=' + fields[key]).join('&');

  const parsed = (value) => {
    if (typeof value !== 'string') return value;
    try {
      return JSON.parse(value);
    } catch (e) {
      return value;
    }
  };

  class RoomClient {
    constructor(host) {
      this.host = host;
      this.session = {}; // properties set during the session; they go with a joinRoom again
      this.acks = 0;
    }

    call(method, path, body, sync) {
      return this.host.request(method, this.base + path + '?ts=' + Date.now(), body, sync);
    }

    // join enters a room; options are base, serial, password, nickname, userId and properties.
    async join(options) {
      this.base = options.base;
      this.options = options;
      const [where, area, check] = (await Promise.all([
        this.call('GET', '/where.html'),
        this.call('POST', '/ClientAPI/getserverarea', ''),
        this.call('POST', '/ClientAPI/checkroom', form({
          serial: options.serial, password: options.password || '', nickname: options.nickname, clientType: 1,
        })),
      ])).map(parsed);
      if (area.result !== 0) throw new Error('getserverarea: ' + JSON.stringify(area));
      if (check.result !== 0) throw new Error('room-checkroom ' + check.result);
      this.where = where;
      this.check = check;
      this.userId = check.thirdid || options.userId;
      const server = await this.configure();
      const body = await this.connect(server);
      await this.call('POST', '/ClientAPI/equipment', form({
        companyid: check.room.companyid, serial: check.room.serial, peerId: this.userId, peerName: check.nickname,
        peerRole: check.roomrole, devicetype: 'WindowPC', systemversion: 'chrome 156.0.0.0', version: 'customer',
        sdkVersion: '2.2.0.8', appType: 'webpageApp', deviceName: 'chrome', OSVersion: 'Linux', CpuArchitecture: 'x86',
        ip: where.selfip,
      }));
      return { nickname: check.nickname, role: check.roomrole, userId: this.userId, messages: body.messages, users: body.users };
    }

    // configure asks where the socket is, as it does before each new joinRoom.
    async configure() {
      const config = parsed(await this.call('POST', '/ClientAPI/getconfig', form({
        serial: this.check.room.serial, userrole: this.check.roomrole, selfip: this.where.selfip,
      })));
      if (!config.newcourseaddr) await this.call('GET', '/where.html', undefined, true);
      return 'wss://' + config.courseserver + ':' + config.courseserverport;
    }

    // connect opens a socket and joins.
    connect(server) {
      const socket = this.host.io(server, Object.assign({ transports: ['websocket'], forceNew: true }, this.host.options));
      this.socket = socket;
      for (const [event, handle] of Object.entries(this.handlers())) socket.on(event, handle);
      socket.on('disconnect', (reason) => {
        if (this.socket === socket) this.host.tell('room-disconnected', reason);
      });
      socket.io.on('reconnect_attempt', (n) => this.host.tell('room-reconnecting', n));
      socket.io.on('reconnect', () => {
        this.host.tell('room-reconnected');
        this.configure().then(() => this.joinRoom()).catch((e) => this.host.tell('room-error', String(e)));
      });
      return new Promise((resolve, reject) => socket.once('connect', () => this.joinRoom().then(resolve, reject)));
    }

    joinRoom() {
      const room = this.check.room;
      const number = (text) => (text === undefined ? null : Number(text));
      const properties = Object.assign({
        role: this.check.roomrole, nickname: this.check.nickname, publishstate: 0, hasvideo: true, hasaudio: true,
      }, this.options.properties, { servername: this.where.name, udpstate: 1 }, this.session);
      return new Promise((resolve, reject) => this.socket.emit('joinRoom', {
        userId: this.userId, roomId: room.serial, maxVideo: number(room.maxvideo), videofps: number(room.videoframerate),
        videowidth: number(room.videowidth), videoheight: number(room.videoheight), properties,
        roomtype: number(room.roomtype), version: 3, vcodec: number(room.vcodec),
      }, (code, body) => {
        if (code === 'error') {
          reject(new Error('joinRoom: ' + JSON.stringify(body)));
          return;
        }
        void body.roominfo.id; // the SDK dies of a body without
        const messages = Object.values(parsed(body.msglist)).sort((a, b) => a.seq - b.seq); // data stays a text here
        const users = Object.values(body.userlist || []);
        this.streams = body.roominfo.streams;
        Object.assign(this.session, { _videopublished_: false, _audiopublished_: false, _videoplayed_: false, _audioplayed_: false });
        this.host.tell('room-connected', messages, users.map((u) => u.id));
        resolve({ messages, users: users.map((u) => u.id) });
      }));
    }

    // handlers are what the SDK does with what the server sends.
    handlers() {
      const { tell } = this.host;
      const message = (event) => (m) => {
        m = Object.assign({}, parsed(m));
        m.data = parsed(m.data); // live, data becomes an object
        tell(event, m);
      };
      return {
        pubMsg: message('room-pubmsg'),
        delMsg: message('room-delmsg'),
        msgList: (list) => tell('room-msglist', list),
        participantJoined: (user) => {
          void user.properties.role; // required
          tell('room-participant_join', user);
        },
        participantLeft: (id) => tell('room-participant_leave', id),
        participantEvicted: (why) => {
          this.socket.disconnect();
          tell('room-participant_evicted', why || {});
        },
        sendMessage: (m) => tell('room-text-message', { from: m.fromID, message: parsed(m.message) }),
        setProperty: (p) => {
          if (p.id === this.userId) Object.assign(this.session, p.properties);
          tell('room-userproperty-changed', p);
        },
        forceReconnect: async () => {
          const server = await this.configure();
          const old = this.socket;
          this.socket = null;
          old.disconnect();
          tell('room-disconnected', 'select service reconnect');
          await this.connect(server);
        },
        onAddStream: (s) => tell('stream-added', s),
        onRemoveStream: (s) => tell('stream-removed', s),
        publish_failed: (s) => tell('stream-failed', s),
        signaling_message_mediaserver: (m) => this.mediaServer && this.mediaServer(m),
      };
    }

    // emit sends [event, payload] and resolves to the ack's arguments.
    emit(event, payload) {
      return new Promise((resolve) => this.socket.emit(event, payload, (...args) => resolve(args)));
    }

    // emitNull sends [event, payload, null].
    emitNull(event, payload) {
      return new Promise((resolve) => this.socket.emit(event, payload, null, (...args) => resolve(args)));
    }

    // pubMsg publishes a message; without save, the server is told not to keep it.
    pubMsg({ name, id, toID, data, save, ...more }) {
      const payload = Object.assign({ name, id: id || name, toID: toID || '__all', data }, more);
      if (!save) payload.do_not_save = '';
      return this.emit('pubMsg', payload);
    }

    delMsg(name, id, toID, data) {
      const payload = { name, id: id || name, toID: toID || '__all' };
      if (data !== undefined) payload.data = data;
      return this.emit('delMsg', payload);
    }

    // startServerRecord begins a class as the SDK's call of this name.
    startServerRecord({ recordType, convert, layout, recordChat }) {
      const data = { recordtype: recordType || '1', convert: convert || 0, layout: layout || 0 };
      if (recordChat !== false) data.recordchat = true; // left out, never false
      return this.pubMsg({ name: 'ClassBegin', data: JSON.stringify(data), save: true });
    }

    stopServerRecord() {
      return this.delMsg('ClassBegin', 'ClassBegin', '__all', '{}');
    }

    sendMessage(text) {
      return this.emit('sendMessage', { toID: '__all', message: JSON.stringify({ msg: text }) });
    }

    changeProperty(properties) {
      return this.emit('setProperty', { id: this.userId, toID: '__all', properties });
    }

    // drop cuts the connection as a lost network does, from this end.
    drop() {
      this.socket.io.engine.close();
    }

    leave() {
      this.socket.disconnect(); // 41, then the websocket is closed
    }
  }
  return RoomClient;
});
