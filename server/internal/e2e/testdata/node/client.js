// SPDX-License-Identifier: Apache-2.0

// A participant on the reference implementation of the socket.io client.
//
// usage: NODE_EXTRA_CA_CERTS=… node client.js 2|4
'use strict';

const https = require('https');
const { serve, tell } = require('./control.js');
const RoomClient = require('./roomclient.js');

const version = process.argv[2];

function request(method, url, body) {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded;charset=utf-8' };
    const req = https.request(url, { method, headers }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (d) => { text += d; }).on('end', () => {
        if (res.statusCode === 200) resolve(text);
        else reject(new Error(new URL(url).pathname + ': ' + res.statusCode));
      });
    });
    req.on('error', reject).end(body);
  });
}

const client = new RoomClient({
  io: require('client' + version), request, tell,
  options: { reconnectionDelay: 300 }, // the SDK's is 1000
});

serve(new Proxy({}, { get: (_, method) => (...args) => client[method](...args) }));
