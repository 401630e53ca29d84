// SPDX-License-Identifier: Apache-2.0

// A receiver of webhooks: node receiver.js PORT SECRET. It verifies each request
// with the reference library of Standard Webhooks and prints one line of JSON
// for it. Every fifth request it refuses. It prints its port first, and ends
// with its standard input.
"use strict";

const http = require("node:http");
const { Webhook } = require("standardwebhooks");

const [port, secret] = process.argv.slice(2);
const webhook = new Webhook(secret);
let count = 0;

const server = http.createServer((req, res) => {
  const chunks = [];
  req.on("data", (chunk) => chunks.push(chunk));
  req.on("end", () => {
    const body = Buffer.concat(chunks).toString("utf8");
    const line = { id: req.headers["webhook-id"], taken: ++count % 5 !== 0 };
    try {
      const event = webhook.verify(body, req.headers);
      line.type = event.type;
      line.room = event.data.recording.room;
      line.sequence = Number(event.data.sequence);
    } catch (err) {
      line.error = String(err);
    }
    res.statusCode = line.taken ? 204 : 500;
    res.end(() => console.log(JSON.stringify(line)));
  });
});

server.listen(Number(port), "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
