// SPDX-License-Identifier: Apache-2.0

// The yardstick of the room server's benchmark: socket.io 2 doing for joinRoom and pubMsg what a room server has to. On
// its standard output it says its address, and true to every line of its input, after giving back memory.
'use strict';

const http = require('http').createServer();
const io = require('server2')(http, { transports: ['websocket'], serveClient: false, pingInterval: 25000, pingTimeout: 60000 });

const rooms = new Map(); // id -> { seq, saved }

io.on('connection', (socket) => {
  let user, id, room;
  socket.on('joinRoom', (who, ack) => {
    user = who.userId;
    id = who.roomId;
    room = rooms.get(id) || { seq: 0, saved: {} };
    rooms.set(id, room);
    socket.properties = who.properties;
    socket.join(id, () => ack(0, { roominfo: { id, p2p: false, iceServers: [], streams: [] }, msglist: room.saved, userlist: [] }));
  });
  socket.on('pubMsg', (message, ack) => {
    message.fromID = user;
    message.ts = Math.floor(Date.now() / 1000);
    message.seq = ++room.seq;
    room.saved[message.id] = message;
    ack(0);
    io.to(id).emit('pubMsg', message);
  });
});

http.listen(0, '127.0.0.1', () => console.log(JSON.stringify(`127.0.0.1:${http.address().port}`)));
process.stdin.on('end', () => process.exit(0)).on('data', () => {
  global.gc();
  console.log('true');
});
