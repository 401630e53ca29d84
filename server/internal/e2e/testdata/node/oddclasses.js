// SPDX-License-Identifier: Apache-2.0

// Begins and ends classes as it is told to on its standard input, on version 2 of the reference client: a teacher who
// sends, a student and an auditor. Prints who has heard of each.
//
// usage: node oddclasses.js http://HOST:PORT < cases.json
'use strict';

const io = require('client2');

const base = process.argv[2];
const users = [['teacher', 0], ['student', 2], ['auditor', 3]];

const call = (socket, event, payload) => new Promise((resolve, reject) => {
  socket.emit(event, payload, (code, x) => (code === 0 ? resolve(x) : reject(new Error(event + ': ' + JSON.stringify([code, x])))));
});

// settled resolves when all that was sent to a socket before is here: it sends itself an unsaved message.
const settled = (person) => new Promise((resolve) => {
  person.synced = resolve;
  person.socket.emit('pubMsg', { name: 'UpdateTime', toID: person.id, do_not_save: '' });
});

async function play(room, { Begin, End }) {
  const people = [];
  for (const [id, role] of users) {
    const person = { id, heard: [], socket: io(base, { transports: ['websocket'], forceNew: true, reconnection: false }) };
    person.socket.on('pubMsg', (m) => (m.name === 'UpdateTime' ? person.synced() : person.heard.push('pubMsg')));
    person.socket.on('delMsg', () => person.heard.push('delMsg'));
    await new Promise((resolve, reject) => person.socket.on('connect', resolve).on('connect_error', reject));
    await call(person.socket, 'joinRoom', { userId: id, roomId: room, properties: { role, nickname: id } });
    people.push(person);
  }
  const heard = (event) => people.filter((p) => p.heard.includes(event)).map((p) => p.id).join(' ');
  await call(people[0].socket, 'pubMsg', JSON.parse(Begin));
  await Promise.all(people.map(settled));
  const Told = heard('pubMsg');
  await call(people[0].socket, 'delMsg', JSON.parse(End));
  await Promise.all(people.map(settled));
  const result = { Room: room, Told, ToldEnd: heard('delMsg') };
  people.forEach((p) => p.socket.close());
  return result;
}

(async () => {
  let text = '';
  for await (const piece of process.stdin) text += piece;
  const results = [];
  for (const [i, one] of JSON.parse(text).entries()) results.push(await play('odd ' + i, one));
  process.stdout.write(JSON.stringify(results), () => process.exit(0));
})().catch((err) => { console.error(err); process.exit(1); });
