// SPDX-License-Identifier: Apache-2.0

// The reference implementation doing what the server of bench_test.go does. It prints its port.
//
// usage: node bench-server.js 2|4
'use strict';

const version = process.argv[2];
const http = require('http').createServer();
const options = { transports: ['websocket'], serveClient: false, pingInterval: 25000, pingTimeout: 60000 };
const io = version === '2'
  ? require('server2')(http, options)
  : new (require('server4').Server)(http, { ...options, allowEIO3: true });

io.on('connection', (socket) => {
  socket.on('join', (who, ack) => ack(0, { userId: who.userId }));
  socket.on('spread', (times, text) => {
    for (let i = 0; i < times; i++) io.emit('pubMsg', { name: 'tick', seq: i, data: text });
  });
  socket.on('settle', (ack) => {
    if (global.gc) global.gc();
    ack();
  });
});

http.listen(0, '127.0.0.1', () => console.log(http.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
