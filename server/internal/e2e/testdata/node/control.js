// SPDX-License-Identifier: Apache-2.0

// Control lets the tests drive a script: each line of standard input is a call {id, method, args}, each line of standard
// output its answer {id, result} or {id, error}, or an event {event, args}. The script ends with its standard input.
'use strict';

const readline = require('readline');

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');

exports.tell = (event, ...args) => say({ event, args });

exports.serve = (methods) => {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', async (line) => {
    const { id, method, args } = JSON.parse(line);
    try {
      say({ id, result: (await methods[method](...args)) ?? null });
    } catch (e) {
      say({ id, error: String(e) });
    }
  });
  lines.on('close', () => process.exit(0));
};
