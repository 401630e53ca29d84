// SPDX-License-Identifier: Apache-2.0

// Records a class, and watches it begin and end:
//
//	npm start -- http://localhost:9090 42

import { randomUUID } from "node:crypto";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { EndReason, RecordingFormat, RecordingState } from "@classrec/api/classrec/v1/recording_pb";
import {
  ClassBeginAction,
  RecordingService,
  type ClassBeginEvent,
  type WatchClassBeginResponse,
} from "@classrec/api/classrec/v1/recording_service_pb";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "@classrec/api/google/rpc/error_details_pb";

const [baseUrl, room] = process.argv.slice(2);
const client = createClient(RecordingService, createGrpcTransport({ baseUrl }));

/** The class events of a watch, without what else it says. */
async function* events(stream: AsyncIterable<WatchClassBeginResponse>, synced: () => void) {
  for await (const { payload } of stream) {
    if (payload.case === "event") yield payload.value;
    if (payload.case === "synced") synced();
  }
}

function show(event: ClassBeginEvent) {
  console.log(`event ${ClassBeginAction[event.action]} ${event.recording?.name}`);
}

/** Prints what an error says: its code, its reason, what it names, and when to try again. */
async function refused(what: string, call: Promise<unknown>) {
  try {
    await call;
    console.log(`${what}: OK`);
  } catch (err) {
    const error = ConnectError.from(err);
    const code = Code[error.code].replace(/(?!^)([A-Z])/g, "_$1").toUpperCase();
    const words = [`${what}:`, code];
    for (const info of error.findDetails(ErrorInfoSchema)) {
      words.push(info.reason);
      for (const [k, v] of Object.entries(info.metadata).sort()) words.push(`${k}=${v}`);
    }
    for (const bad of error.findDetails(BadRequestSchema)) {
      for (const violation of bad.fieldViolations) words.push(`field=${violation.field}`);
    }
    for (const { retryDelay } of error.findDetails(RetryInfoSchema)) {
      words.push(`retry=${Number(retryDelay?.seconds ?? 0) + (retryDelay?.nanos ?? 0) / 1e9}s`);
    }
    console.log(words.join(" "));
  }
}

const stop = new AbortController();
let watching = () => {};
const synced = new Promise<void>((resolve) => (watching = resolve));
const seen = events(client.watchClassBegin({ room }, { signal: stop.signal }), watching);
const first = seen.next(); // a stream begins when it is read
await synced;
console.log("watching");

const { recording } = await client.startRecording({
  room,
  requestId: randomUUID(), // the same id starts the same recording
  format: RecordingFormat.WEBM,
  maxDuration: { seconds: 3600n },
}, { timeoutMs: 30_000 });
console.log(`started ${recording!.name} RECORDING_STATE_${RecordingState[recording!.state]}`);
show((await first).value!);

await refused("start again", client.startRecording({ room }));
await refused("start for -1 s", client.startRecording({ room, maxDuration: { seconds: -1n } }));
// Where --max-recordings does not forbid it, it is over by itself.
await refused("start in another room", client.startRecording({ room: `${room}-2`, maxDuration: { seconds: 1n } }));

const { recording: stopped } = await client.stopRecording({ name: recording!.name }, { timeoutMs: 30_000 });
console.log(`stopped ${stopped!.name} END_REASON_${EndReason[stopped!.endReason]}`);
show((await seen.next()).value!);
stop.abort();

for (const one of (await client.listRecordings({ room })).recordings) console.log(`listed ${one.name}`);
await refused("get", client.getRecording({ name: `rooms/${room}/recordings/1` }));
