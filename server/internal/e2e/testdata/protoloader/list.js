// SPDX-License-Identifier: Apache-2.0

// Lists a room: node list.js DESCRIPTOR_SET ADDRESS ROOM. Prints the answer as JSON.
const fs = require('node:fs');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [set, address, room] = process.argv.slice(2);
const definition = loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(set));
const { RecordingService } = grpc.loadPackageDefinition(definition).classrec.v1;
const client = new RecordingService(address, grpc.credentials.createInsecure());
client.ListRecordings({ room }, (error, answer) => {
  if (error) throw error;
  console.log(JSON.stringify(answer));
  client.close();
});
