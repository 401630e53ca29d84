-- history is one row: which history this is, and how far it has come. Whoever
-- changes anything holds the row until the end of the transaction, so that
-- sequences are given in the order of commits.
CREATE TABLE history (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL,
  last BIGINT NOT NULL,       -- the last event's sequence
  size BIGINT NOT NULL,       -- of all events ever, in bytes
  forgotten BIGINT NOT NULL,  -- no event up to here is kept
  revision BIGINT NOT NULL,   -- of webhook_cursor and delivery
  fingerprint TEXT NOT NULL   -- of the sealing key
);

-- recording has the present state of each.
CREATE TABLE recording (
  tenant TEXT NOT NULL,
  room TEXT NOT NULL,
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  request_id TEXT NOT NULL,   -- that it holds; '' for none
  state INTEGER NOT NULL,
  seconds BIGINT NOT NULL,    -- of record_time
  nanos INTEGER NOT NULL,
  revision BIGINT NOT NULL,   -- the sequence of its last event
  body BYTEA NOT NULL,        -- classrec.store.v1.Record
  crc BIGINT NOT NULL,
  PRIMARY KEY (tenant, room, id)
);
CREATE UNIQUE INDEX recording_live ON recording (tenant, room) WHERE state IN (1, 2, 3);
CREATE UNIQUE INDEX recording_request ON recording (tenant, request_id) WHERE request_id <> '';
CREATE INDEX recording_name ON recording (tenant, name) WHERE name <> '';
CREATE INDEX recording_unfinished ON recording (revision) WHERE state IN (1, 2, 3, 4);
CREATE INDEX recording_list ON recording (tenant, seconds, nanos, id, room) WHERE name <> '';
CREATE INDEX recording_room ON recording (tenant, room, seconds, nanos, id) WHERE name <> '';

-- recording_user has who began the class of a recording with a name, or has a
-- file in it.
CREATE TABLE recording_user (
  tenant TEXT NOT NULL,
  user_id TEXT NOT NULL,
  seconds BIGINT NOT NULL,
  nanos INTEGER NOT NULL,
  id TEXT NOT NULL,
  room TEXT NOT NULL,
  PRIMARY KEY (tenant, user_id, seconds, nanos, id, room)
);

-- recording_url has a digest of each URL that a recording has.
CREATE TABLE recording_url (
  tenant TEXT NOT NULL,
  digest TEXT NOT NULL,
  room TEXT NOT NULL,
  id TEXT NOT NULL,
  PRIMARY KEY (tenant, digest, room, id)
);

-- tally counts the recordings of a tenant in a state.
CREATE TABLE tally (
  tenant TEXT NOT NULL,
  state INTEGER NOT NULL,
  n BIGINT NOT NULL,
  PRIMARY KEY (tenant, state)
);

-- event has every change of a recording, and, where several processes share the
-- database, of the lease of a room (then recording is '').
CREATE TABLE event (
  sequence /*sequence*/ PRIMARY KEY,
  tenant TEXT NOT NULL,
  room TEXT NOT NULL,
  recording TEXT NOT NULL,
  time BIGINT NOT NULL,       -- Unix microseconds
  size BIGINT NOT NULL,       -- history.size after it
  body BYTEA NOT NULL,
  crc BIGINT NOT NULL
);
CREATE INDEX event_room ON event (tenant, room, sequence);
CREATE INDEX event_recording ON event (recording, sequence) WHERE recording <> '';

-- replica has the processes that share the database.
CREATE TABLE replica (
  id TEXT PRIMARY KEY,
  life TEXT NOT NULL,         -- a ULID of the process: of two with one id, the later works
  until BIGINT NOT NULL       -- alive until then, in Unix microseconds
);

-- room has who works a room; epoch is the sequence of the grant's event.
CREATE TABLE room (
  tenant TEXT NOT NULL,
  room TEXT NOT NULL,
  owner TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  PRIMARY KEY (tenant, room)
);
CREATE INDEX room_owner ON room (owner) WHERE owner <> '';

-- question has what one replica asks of another.
CREATE TABLE question (
  id TEXT PRIMARY KEY,
  replica TEXT NOT NULL,
  tenant TEXT NOT NULL,
  until BIGINT NOT NULL,
  state INTEGER NOT NULL,     -- 0 asked, 1 answered, 2 refused
  body BYTEA NOT NULL,
  answer BYTEA NOT NULL
);
CREATE INDEX question_replica ON question (replica, state);

CREATE TABLE webhook_cursor (
  tenant TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  revision BIGINT NOT NULL,
  body BYTEA NOT NULL,
  crc BIGINT NOT NULL,
  PRIMARY KEY (tenant, endpoint)
);

CREATE TABLE delivery (
  tenant TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  sequence BIGINT NOT NULL,   -- of its event
  kind INTEGER NOT NULL,      -- orders the deliveries of one event
  id TEXT NOT NULL,
  state INTEGER NOT NULL,
  revision BIGINT NOT NULL,
  changed BIGINT NOT NULL,    -- Unix microseconds
  body BYTEA NOT NULL,
  crc BIGINT NOT NULL,
  PRIMARY KEY (tenant, endpoint, id)
);
CREATE INDEX delivery_order ON delivery (tenant, endpoint, sequence, kind, id);
CREATE INDEX delivery_revision ON delivery (tenant, endpoint, revision);
CREATE INDEX delivery_pending ON delivery (tenant, endpoint, sequence, kind) WHERE state = 1;
CREATE INDEX delivery_changed ON delivery (changed);
