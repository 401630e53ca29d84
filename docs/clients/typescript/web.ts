// SPDX-License-Identifier: Apache-2.0

// The API from a page: a bundler of your choice makes a script of this.
//
//	npx esbuild web.ts --bundle --format=esm --outfile=web.js

import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { ClassBeginAction, RecordingService } from "@classrec/api/classrec/v1/recording_service_pb";

/**
 * Watches a room, records a class in it, and lists it. The server has to allow the page's origin (--cors-origin), and
 * where it asks who calls, the page has a token. Returns what it saw.
 */
export async function record(baseUrl: string, room: string, token?: string, grpcWeb = false): Promise<string[]> {
  const create = grpcWeb ? createGrpcWebTransport : createConnectTransport;
  const client = createClient(RecordingService, create({ baseUrl }));
  const headers: HeadersInit = token ? { Authorization: `Bearer ${token}` } : {};
  const saw: string[] = [];

  const stop = new AbortController();
  for await (const { payload } of client.watchClassBegin({ room }, { headers, signal: stop.signal })) {
    if (payload.case === "synced") {
      const { recording } = await client.startRecording({ room }, { headers });
      saw.push(`started ${recording?.name}`);
    }
    if (payload.case === "event") {
      saw.push(`${ClassBeginAction[payload.value.action]} ${payload.value.recording?.name}`);
      if (payload.value.action === ClassBeginAction.REMOVE) break;
      await client.stopRecording({ room }, { headers });
    }
  }
  stop.abort();
  const { recordings } = await client.listRecordings({ room }, { headers });
  return saw.concat(recordings.map((r) => `listed ${r.name}`));
}
