// SPDX-License-Identifier: Apache-2.0

// A small platform on the reference implementation of the socket.io server, which behaves as the captured session does.
//
// usage: node platform.js 2|4 certificate.pem key.pem
'use strict';

const fs = require('fs');
const https = require('https');
const { serve, tell } = require('./control.js');

const [version, cert, key] = process.argv.slice(2);
const rooms = new Map(); // serial -> {users: id -> {socket, properties}, messages: id -> message, seq}
const records = new Map(); // path behind the key -> {status, type, body}
let held = null; // while set, getconfig waits for it

const room = (serial) => {
  if (!rooms.has(serial)) rooms.set(serial, { users: new Map(), messages: new Map(), seq: 0 });
  return rooms.get(serial);
};

const details = (serial) => ({
  serial, roomname: 'room ' + serial, roomtype: '3', maxvideo: '6', companyid: '10001', chairmancontrol: '0'.repeat(200),
  videotype: '1', videoframerate: '15', videowidth: '320', videoheight: '240', vcodec: '0',
});

const calls = {
  '/where.html': () => ({ name: 'cna', selfip: '127.0.0.1', ip: '127.0.0.1', nochange: 1 }),
  '/ClientAPI/getserverarea': () => ({ result: 0, serverarealist: [{ serverareaname: 'cna', chinesedesc: 'A', englishdesc: 'A' }] }),
  '/ClientAPI/checkroom': (form) => {
    const serial = form.get('serial');
    tell('checkroom', Object.fromEntries([...form].filter(([k]) => k !== 'password')));
    if (serial.startsWith('missing')) return { result: 4007 };
    if (serial.startsWith('locked') && form.get('password') !== 'open sesame & 芝麻') return { result: 4008 };
    return { result: 0, nickname: form.get('nickname'), roomrole: form.get('password') === 'teacher' ? 0 : 2, thirdid: '', room: details(serial), pullinfo: null };
  },
  '/ClientAPI/getconfig': async (form) => {
    tell('getconfig', form.get('serial'));
    await held?.promise;
    return { result: 0, courseserver: '127.0.0.1', courseserverport: server.address().port };
  },
  '/ClientAPI/equipment': () => ({ result: 0 }),
};

const server = https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, (req, res) => {
  let body = '';
  req.setEncoding('utf8').on('data', (d) => { body += d; }).on('end', async () => {
    res.setHeader('Access-Control-Allow-Origin', '*');
    const path = new URL(req.url, 'https://x').pathname;
    const list = /^\/ClientAPI\/getUserRecordlist\/key\/([^/]+)\/(.*)$/.exec(path);
    if (list) {
      const answer = list[1] === process.env.PLATFORM_KEY
        ? records.get(list[2]) || { body: '{"result":4105}' } : { body: '{"result":4102}' };
      tell('recordlist', decodeURIComponent(list[2]));
      res.writeHead(answer.status || 200, { 'Content-Type': answer.type || 'application/json' });
      res.end(answer.body);
      return;
    }
    if (!calls[path]) {
      res.writeHead(404).end('<html>404</html>');
      return;
    }
    const answer = await calls[path](new URLSearchParams(body));
    res.setHeader('Content-Type', 'text/html'); // as the platform's PHP does
    res.end(JSON.stringify(answer));
  });
});

const options = { transports: ['websocket'], serveClient: false, pingInterval: 25000, pingTimeout: 5000 };
const io = version === '2'
  ? require('server2')(server, options)
  : new (require('server4').Server)(server, { ...options, allowEIO3: true });

// deliver sends an event to whom it is for.
function deliver(r, sender, toID, event, payload) {
  for (const [id, user] of r.users) {
    const yes = toID === '__all' || (toID === '__allExceptSender' && id !== sender) ||
      (toID === '__allExceptAuditor' && user.properties.role !== 3) || toID === id;
    if (yes) user.socket.emit(event, payload);
  }
}

function leave(r, serial, id, socket) {
  if (r.users.get(id)?.socket !== socket) return;
  r.users.delete(id);
  deliver(r, id, '__all', 'participantLeft', id);
  if (r.users.size === 0) rooms.delete(serial);
  tell('left', serial, id);
}

io.on('connection', (socket) => {
  let r; let serial; let me;
  socket.on('joinRoom', (join, ack) => {
    [serial, me] = [String(join.roomId), join.userId];
    r = room(serial);
    const old = r.users.get(me);
    if (old) { // the room, and what is saved in it, stays
      r.users.delete(me);
      old.socket.emit('participantEvicted', { reason: 400 });
      old.socket.disconnect(true);
      deliver(r, me, '__all', 'participantLeft', me);
      tell('left', serial, me);
    }
    ack(0, {
      roominfo: { id: serial, p2p: false, iceServers: [], streams: [] },
      msglist: Object.fromEntries(r.messages),
      userlist: [...r.users].map(([id, user]) => ({ id, properties: user.properties })),
    });
    deliver(r, me, '__all', 'participantJoined', { id: me, properties: join.properties });
    r.users.set(me, { socket, properties: join.properties });
    tell('joined', serial, me, socket.conn.protocol ?? 3);
  });
  socket.on('pubMsg', (m, ack) => {
    const full = { ...m, fromID: me, ts: Math.floor(Date.now() / 1000), seq: ++r.seq };
    if (!('do_not_save' in m)) r.messages.set(m.id, full);
    tell('pubMsg', serial, me, m);
    deliver(r, me, m.toID, 'pubMsg', full);
    ack?.(0);
  });
  socket.on('delMsg', (m, ack) => {
    r.messages.delete(m.id);
    tell('delMsg', serial, me, m);
    deliver(r, me, m.toID, 'delMsg', { ...m, fromID: me, ts: Math.floor(Date.now() / 1000), seq: ++r.seq });
    ack?.(0);
  });
  socket.on('sendMessage', (m, ack) => {
    deliver(r, me, m.toID, 'sendMessage', { fromID: me, message: m.message });
    ack?.(0);
  });
  socket.on('setProperty', (p, ack) => {
    Object.assign(r.users.get(p.id)?.properties ?? {}, p.properties);
    deliver(r, me, p.toID, 'setProperty', { id: p.id, fromID: me, properties: p.properties });
    ack?.(0);
  });
  socket.on('disconnect', () => r && leave(r, serial, me, socket));
});

const socketOf = (serial, id) => {
  const user = rooms.get(serial)?.users.get(id);
  if (!user) throw new Error(id + ' is not in room ' + serial);
  return user.socket;
};

server.listen(0, '127.0.0.1', () => serve({
  port: () => server.address().port,
  users: (serial) => [...(rooms.get(serial)?.users.keys() ?? [])],
  messages: (serial) => Object.fromEntries(rooms.get(serial)?.messages ?? []),
  drop: (serial, id) => { socketOf(serial, id).conn.close(); }, // the websocket is gone, without a word
  disconnect: (serial, id) => { socketOf(serial, id).disconnect(); }, // 41
  forceReconnect: (serial, id) => { socketOf(serial, id).emit('forceReconnect'); },
  evict: (serial, id, reason) => {
    const socket = socketOf(serial, id);
    socket.emit('participantEvicted', { reason });
    socket.disconnect();
  },
  hold: () => {
    let release;
    held = { promise: new Promise((resolve) => { release = resolve; }) };
    held.release = release;
  },
  release: () => { held?.release(); held = null; },
  record: (path, answer) => { records.set(path, answer); },
}));
