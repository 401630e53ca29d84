// SPDX-License-Identifier: Apache-2.0

// The reference implementation as the client of e2e_test.go. It prints what happens, a JSON array a line, and ends with its
// standard input.
//
// usage: node client.js 2|4 url
'use strict';

const [version, url] = process.argv.slice(2);
const io = require(version === '2' ? 'client2' : 'client4');
const tell = (...args) => console.log(JSON.stringify(args));

const socket = io(url, { transports: ['websocket'], reconnectionDelay: 50, reconnectionDelayMax: 100, timeout: 5000 });
socket.on('connect', () => {
  tell('connect');
  socket.emit('hello', version, (...args) => tell('ack', ...args));
});
socket.on('disconnect', (reason) => tell('disconnect', reason));
socket.on('echo', (...args) => args.pop()(...args));
socket.on('broadcast', (...args) => tell('broadcast', ...args));
socket.on('participantEvicted', (...args) => tell('participantEvicted', ...args));

// A namespace that does not exist is refused, on the same connection.
const other = version === '2' ? socket.io.socket('/other') : socket.io.socket('/other', {});
other.on(version === '2' ? 'error' : 'connect_error', (error) => {
  tell('refused', error.message || error);
  other.close(); // else it alone would keep the connection coming back
});
if (version === '4') other.connect();

process.stdin.on('end', () => process.exit(0)).resume();
