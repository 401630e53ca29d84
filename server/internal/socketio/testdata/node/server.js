// SPDX-License-Identifier: Apache-2.0

// The reference implementation as the server of e2e_test.go. It prints its port, and ends with its standard input.
//
// usage: node server.js 2|4
'use strict';

const http = require('http').createServer();
const options = { transports: ['websocket'], serveClient: false, pingInterval: 300, pingTimeout: 2000 };
const io = process.argv[2] === '2'
  ? require('server2')(http, options)
  : new (require('server4').Server)(http, { ...options, allowEIO3: true, maxHttpBufferSize: 1e7 });

io.on('connection', (socket) => {
  socket.on('echo', (...args) => args.pop()(...args));
  socket.on('shout', (...args) => io.emit('shouted', ...args));
  socket.on('question', (text) => socket.emit('question', text, (answer) => socket.emit('answered', answer)));
  socket.on('binary', () => socket.emit('binary', Buffer.from([1, 2, 3])));
  socket.on('kick', () => {
    socket.emit('participantEvicted', { reason: 1 });
    socket.disconnect(true);
  });
  socket.on('drop', () => socket.conn.close());
  socket.on('disconnect', (reason) => io.emit('left', reason));
});

http.listen(0, '127.0.0.1', () => console.log(http.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
