// A member of a consumer group by GroupService.Consume: one call, at any broker,
// that joins, fetches and commits for it (docs/consume.md).
'use strict';
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { parseArgs } = require('node:util');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const { sluice: { v1 } } = grpc.loadPackageDefinition(protoLoader.loadSync(
  'sluice/v1/group.proto', {
    includeDirs: [process.env.SLUICE_PROTO || path.join(__dirname, '../../proto')],
    keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true,
  }));

const GIVE_UP_MS = 60000; // without a word from any broker
// A broker that hangs is left within ten seconds.
const CHANNEL = { 'grpc.keepalive_time_ms': 5000, 'grpc.keepalive_timeout_ms': 5000 };
// What another try mends, at another broker at best.
const AGAIN = new Set([grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED,
  grpc.status.RESOURCE_EXHAUSTED]);

// The command line that the examples share.
function parseOptions(about, more = {}) {
  const known = {
    bootstrap: [process.env.SLUICE_BOOTSTRAP || '127.0.0.1:9001', 'brokers, host:port,...'],
    topic: ['orders', 'what to read'],
    group: ['example', 'who shares it'],
    'instance-id': ['', 'a name of its own: a restart under it costs no rebalance'],
    'session-timeout-ms': ['10000', 'how long a silent member keeps its part'],
    'fetch-bytes': [String(256 << 10), 'that may be on their way; a batch at least'],
    ...more,
  };
  const options = { help: { type: 'boolean', short: 'h' } };
  for (const [name, [value]] of Object.entries(known)) {
    options[name] = { type: 'string', default: value };
  }
  let values;
  try {
    ({ values } = parseArgs({ options }));
  } catch (error) {
    console.error(`${error.message}; try --help`);
    process.exit(2);
  }
  if (values.help) {
    console.log(`${about}\n\nOptions:`);
    for (const [name, [value, what]] of Object.entries(known)) {
      console.log(`  --${name.padEnd(20)} ${what} (${value})`);
    }
    process.exit(0);
  }
  return values;
}

// What asking again does not mend.
class GroupError extends Error {}

const keyOf = ({ topic, partition }) => `${topic.name || topic}-${partition}`;
// As an acknowledgement names it: by the topic's id.
const idKeyOf = (id, partition) => `${id.toString('hex')}-${partition}`;

class GroupConsumer {
  // startAt(topic, partition), if given, says where each partition begins; else
  // it begins where the group has committed, or at the log's start.
  constructor(options, startAt = null) {
    this.options = options;
    this.startAt = startAt;
    this.brokers = options.bootstrap.split(',');
    this.service = null;
    this.call = null;
    this.messages = null; // of the call
    this.token = Buffer.alloc(0); // to go on as the same member, at any broker
    this.waiting = []; // batches that came
    this.committed = new Map(); // the last answer of each partition
    this.silentSince = null; // calls fail since then
    this.reading = false;
    this.stopped = false;
    for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => this.stop());
  }

  stop() {
    this.stopped = true;
    if (this.reading) this.halfClose(); // else a batch is being worked on: first that
  }

  // ---- For the application

  // Until SIGINT or SIGTERM. A batch is {topic, topicId, partition, records,
  // nextOffset, cost}; nextOffset is what commits it.
  async* batches() {
    while (!this.stopped) {
      const { call, waiting: [batch] } = this;
      if (batch) {
        this.waiting.shift();
        yield batch;
        if (call === this.call) this.ask({ credit_bytes: batch.cost });
      } else {
        await this.read();
      }
    }
  }

  // Does not wait. Refused, another member reads it again; by the topic's id, so
  // that it is never one of a topic that has the name later.
  commit({ topicId, partition, nextOffset }) {
    this.ask({ ack: { offsets: [{ topic: { id: topicId }, partition, offset: nextOffset }] } });
  }

  // False: refused, or nobody knows.
  async commitAndWait(batch) {
    const key = idKeyOf(batch.topicId, batch.partition);
    this.committed.delete(key);
    this.commit(batch);
    while (this.call) {
      const answer = this.committed.get(key);
      if (answer && (answer.error || answer.offset >= batch.nextOffset)) return !answer.error;
      await this.read();
    }
    return false;
  }

  // As a new member, whose partitions begin anew.
  async startOver() {
    await this.end();
    this.token = Buffer.alloc(0);
  }

  // Leaves the group, so that the others need not wait for a session's end; a
  // member with an instance id stays, to come back as the same.
  async close() {
    await this.end();
    if (this.service) this.service.close();
  }

  // ---- The call

  open() {
    const sessionMs = Number(this.options['session-timeout-ms']);
    if (this.service) this.service.close();
    this.service = new v1.GroupService(
      this.brokers[0], grpc.credentials.createInsecure(), CHANNEL);
    this.call = this.service.Consume();
    this.messages = this.call[Symbol.asyncIterator]();
    this.ask({
      open: {
        group_id: this.options.group,
        topics: [this.options.topic],
        client_id: 'sluice-example',
        group_instance_id: this.options['instance-id'],
        resume_token: this.token,
        session_timeout_ms: sessionMs,
        rebalance_timeout_ms: sessionMs,
        max_poll_interval_ms: sessionMs,
        assignors: ['range'],
        start_by_seek: this.startAt !== null,
      },
      credit_bytes: Number(this.options['fetch-bytes']),
    });
  }

  ask(request) {
    if (this.call && !this.call.writableEnded) this.call.write(request);
  }

  halfClose() {
    if (this.call && !this.call.writableEnded) this.call.end();
  }

  // What is committed is committed first.
  async end() {
    this.halfClose();
    while (this.call) await this.read();
  }

  // One message. Without one the call is over, and what was not committed comes
  // again with the next one.
  async read() {
    if (!this.call) this.open();
    this.reading = true;
    if (this.stopped) this.halfClose();
    try {
      const { value: message, done } = await this.messages.next();
      if (done) {
        this.call = null;
      } else {
        this.silentSince = null;
        const { message: name } = message;
        if (`on_${name}` in this) this[`on_${name}`](message[name]);
      }
    } catch (error) {
      this.call = null;
      await this.lost(error);
    } finally {
      this.reading = false;
      if (!this.call) this.waiting = [];
    }
  }

  // The next broker goes on, as the same member where that is possible.
  async lost(error) {
    if (!Number.isInteger(error.code)) throw error; // none of the call's
    const said = `${this.brokers[0]}: ${error.details || error.message}`;
    this.silentSince ??= Date.now();
    if (error.code === grpc.status.ABORTED) {
      this.token = Buffer.alloc(0); // the group has gone on without this member
    } else if (!AGAIN.has(error.code) || Date.now() > this.silentSince + GIVE_UP_MS) {
      throw new GroupError(said);
    }
    console.error(said);
    this.brokers.push(this.brokers.shift());
    await sleep(100);
  }

  // ---- What the broker says, by its name; `moved`: the call ends next, and any
  // broker will do.

  on_assigned({ generation_id: generation, resume_token: token, partitions, added }) {
    this.token = token;
    const mine = partitions.map((p) => p.partition).sort((a, b) => a - b);
    console.error(`generation ${generation}: reads ${this.options.topic} [${mine}]`);
    if (!this.startAt || added.length === 0) return;
    const places = added.map(({ topic, partition }) => ({
      topic, partition, offset: this.startAt(topic.name, partition),
    }));
    this.ask({ seek: { positions: places } });
    // For who looks at the group: who was here last may not have said so.
    this.ask({ ack: { offsets: places } });
  }

  on_revoke({ revoke_id: id, partitions }) {
    const gone = new Set(partitions.map(keyOf));
    this.waiting = this.waiting.filter((batch) => !gone.has(keyOf(batch)));
    this.ask({ revoke_ack: { revoke_id: id } }); // what is done was committed before
  }

  on_records({
    topic, topic_id: topicId, partition, records, next_offset: nextOffset, charged_bytes: cost,
  }) {
    this.waiting.push({
      topic: topic.name, topicId, partition, records: records ? records.records : [],
      nextOffset, cost,
    });
  }

  on_committed({ results }) {
    for (const result of results) { // as they were named: a place that was sought by name
      if (result.topic.id) this.committed.set(idKeyOf(result.topic.id, result.partition), result);
    }
  }
}

module.exports = { GroupConsumer, GroupError, parseOptions };
