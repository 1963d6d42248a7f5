// A member of a consumer group, from the .proto files alone.
//
// Kafka's classic protocol over gRPC: join, sync, heartbeat, fetch, commit. One
// topic a group, the range assignor. Heartbeats go out between batches, so each
// batch has to be done with within the session timeout. Any broker takes any
// call and hands it to the coordinator or the leader it is for.
'use strict';
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { parseArgs } = require('node:util');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const { sluice: { v1 } } = grpc.loadPackageDefinition(protoLoader.loadSync(
  ['cluster', 'group', 'log'].map((name) => `sluice/v1/${name}.proto`), {
    includeDirs: [process.env.SLUICE_PROTO || path.join(__dirname, '../../proto')],
    keepCase: true, longs: Number, enums: String, defaults: true,
  }));

const NONE = 'ERROR_CODE_UNSPECIFIED';
// The coordinator moves or loads, or the broker that was asked starts or stops.
const AGAIN = [
  'NOT_COORDINATOR', 'COORDINATOR_NOT_AVAILABLE', 'COORDINATOR_LOAD_IN_PROGRESS',
  'BROKER_NOT_AVAILABLE', 'REQUEST_TIMED_OUT', 'SHUTTING_DOWN', 'BUSY',
].map((name) => `ERROR_CODE_${name}`);
// The group makes a new generation, or has gone on without this member.
const REJOIN = ['REBALANCE_IN_PROGRESS', 'ILLEGAL_GENERATION', 'UNKNOWN_MEMBER_ID'].map(
  (name) => `ERROR_CODE_${name}`);
const HEARTBEAT_MS = 1000;
const GIVE_UP_MS = 60000;

const codeOf = (error) => (error ? error.code : NONE);

// The command line that the examples share.
function parseOptions(about, more = {}) {
  const known = {
    bootstrap: [process.env.SLUICE_BOOTSTRAP || '127.0.0.1:9001', 'brokers, host:port,...'],
    topic: ['orders', 'what to read'],
    group: ['example', 'who shares it'],
    'instance-id': ['', 'a name of its own: a restart under it costs no rebalance'],
    'session-timeout-ms': ['10000', 'how long a silent member keeps its part'],
    'fetch-bytes': [String(256 << 10), 'of a partition at a time; a batch at least'],
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

class GroupConsumer {
  // startAt(topic, partition), if given, says where each partition begins; else
  // it begins where the group has committed, or at the log's start.
  constructor(options, startAt = null) {
    this.options = options;
    this.startAt = startAt;
    this.sessionMs = Number(options['session-timeout-ms']);
    this.addresses = options.bootstrap.split(',');
    this.services = null;
    this.memberId = '';
    this.generation = -1;
    this.belongs = false; // to the group's generation, as far as is known
    this.beatAt = 0;
    this.stopped = false;
    for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => { this.stopped = true; });
  }

  // ---- For the application

  // Until SIGINT or SIGTERM. A batch is {topic, partition, records, nextOffset,
  // leaderEpoch}; nextOffset is what commits it.
  async* batches() {
    while (!this.stopped) {
      const partitions = await this.join();
      if (partitions === null) continue;
      const positions = await this.positions(partitions);
      while (await this.stillBelongs()) {
        if (positions.size === 0) {
          await sleep(200);
          continue;
        }
        for (const batch of await this.fetch(positions)) {
          if (!await this.stillBelongs()) break;
          yield batch;
          positions.set(batch.partition, batch.nextOffset);
        }
      }
    }
  }

  // False: refused, for the group goes on without this member, and another one
  // begins where the last commit was.
  async commit(batch) {
    const [, code] = await this.ask('CommitOffsets', {
      group_id: this.options.group,
      ...this.who(),
      offsets: [{
        topic: { name: batch.topic },
        partition: batch.partition,
        offset: batch.nextOffset,
        leader_epoch: batch.leaderEpoch,
      }],
    }, (answer) => [answer.results[0].error]);
    return code === NONE;
  }

  // Joins anew, and begins its partitions anew.
  startOver() {
    this.belongs = false;
  }

  // Leaves, so that the others need not wait for the session's end; a member
  // with an instance id stays, to come back as the same.
  async close() {
    if (this.memberId && !this.options['instance-id']) {
      await this.ask('LeaveGroup', {
        group_id: this.options.group, members: [{ member_id: this.memberId }],
      }, (answer) => [answer.error]);
    }
    this.disconnect();
  }

  // ---- The group

  who() {
    return {
      member_id: this.memberId,
      generation_id: this.generation,
      group_instance_id: this.options['instance-id'],
    };
  }

  // The partitions of this member; null: join again.
  async join() {
    const { topic, group } = this.options;
    const [joined, code] = await this.ask('JoinGroup', {
      group_id: group,
      member_id: this.memberId,
      group_instance_id: this.options['instance-id'],
      client_id: 'sluice-example',
      session_timeout_ms: this.sessionMs,
      protocol_type: 'consumer',
      protocols: [{ name: 'range', metadata: encodeSubscription(topic) }],
    }, (answer) => [answer.error], this.sessionMs + 30000);
    if (code === 'ERROR_CODE_MEMBER_ID_REQUIRED') {
      this.memberId = joined.member_id; // the id to come again with
    }
    if (code !== NONE) return null;
    this.memberId = joined.member_id;
    this.generation = joined.generation_id;
    let assignments = [];
    if (joined.leader_id === this.memberId && !joined.skip_assignment) {
      const given = assignRange(await this.partitionCount(),
        joined.members.map((member) => member.member_id));
      assignments = Object.entries(given).map(([member, partitions]) => ({
        member_id: member, assignment: encodeAssignment(topic, partitions),
      }));
    }
    const [synced, refused] = await this.ask('SyncGroup', {
      group_id: group, assignments, ...this.who(),
    }, (answer) => [answer.error], this.sessionMs + 30000);
    if (refused !== NONE) return null;
    this.belongs = true;
    this.beatAt = Date.now() + HEARTBEAT_MS;
    const mine = decodeAssignment(synced.assignment)[topic] || [];
    console.error(`generation ${this.generation}: reads ${topic} [${mine}]`);
    return mine;
  }

  // Beats the heart if that is due.
  async stillBelongs() {
    if (this.belongs && !this.stopped && Date.now() >= this.beatAt) {
      await this.ask('Heartbeat', { group_id: this.options.group, ...this.who() },
        (answer) => [answer.error]);
      this.beatAt = Date.now() + HEARTBEAT_MS;
    }
    return this.belongs && !this.stopped;
  }

  async partitionCount() {
    const answer = await this.call('ClusterService', 'GetMetadata',
      { topics: [{ name: this.options.topic }] }, 10000);
    const [topic] = answer.topics;
    if (codeOf(topic.error) !== NONE) {
      throw new GroupError(`topic ${this.options.topic}: ${topic.error.message}`);
    }
    return topic.partitions.length;
  }

  // Map of partition -> offset.
  async positions(partitions) {
    const { topic, group } = this.options;
    if (this.startAt) return new Map(partitions.map((p) => [p, this.startAt(topic, p)]));
    if (partitions.length === 0) return new Map();
    const [answer, code] = await this.ask('FetchOffsets', {
      groups: [{
        group_id: group,
        topics: [{ topic: { name: topic }, partitions }],
        member_id: this.memberId,
        generation_id: this.generation,
      }],
    }, ({ groups: [found] }) => [found.error, ...found.offsets.map((o) => o.error)]);
    if (code !== NONE) return new Map();
    return new Map(answer.groups[0].offsets.map((o) => [o.partition, Math.max(o.offset, 0)]));
  }

  // ---- Records

  // An array: what came of each partition.
  async fetch(positions) {
    const { topic } = this.options;
    const answer = await this.call('LogService', 'Fetch', {
      partitions: [...positions].map(([partition, offset]) => ({
        topic: { name: topic }, partition, offset, max_bytes: Number(this.options['fetch-bytes']),
      })),
      min_bytes: 1,
      max_wait_ms: 300,
      route: 'ROUTE_FORWARD',
    }, 10000);
    const batches = [];
    for (const result of answer.results) {
      const { partition, error } = result;
      const position = positions.get(partition);
      if (codeOf(error) === 'ERROR_CODE_OFFSET_OUT_OF_RANGE') {
        if (position >= result.log_start_offset) throw new GroupError(error.message);
        positions.set(partition, result.log_start_offset); // what was there is deleted
      } else if (codeOf(error) !== NONE) {
        await sleep(100); // its leader moves
      } else if (result.next_offset > position) {
        batches.push({
          topic,
          partition,
          records: result.records ? result.records.records : [],
          nextOffset: result.next_offset,
          leaderEpoch: result.last_record_epoch,
        });
      }
    }
    return batches;
  }

  // ---- Calls

  // [answer, error code] of a call about the group: NONE, one of REJOIN, or
  // MEMBER_ID_REQUIRED.
  async ask(method, request, errorsOf, timeoutMs = 10000) {
    const until = Date.now() + GIVE_UP_MS;
    for (;;) {
      const answer = await this.call('GroupService', method, request, timeoutMs);
      const error = errorsOf(answer).find((e) => codeOf(e) !== NONE);
      const code = codeOf(error);
      if (REJOIN.includes(code)) {
        this.belongs = false;
        if (code === 'ERROR_CODE_UNKNOWN_MEMBER_ID') this.memberId = '';
        return [answer, code];
      }
      if (code === NONE || code === 'ERROR_CODE_MEMBER_ID_REQUIRED') return [answer, code];
      if (!AGAIN.includes(code) || Date.now() > until) {
        throw new GroupError(`${method}: ${error.message}`);
      }
      await sleep(100);
    }
  }

  // At the broker that is known to answer, else at the next one.
  async call(service, method, request, timeoutMs) {
    const until = Date.now() + GIVE_UP_MS;
    for (;;) {
      if (this.services === null) {
        this.services = Object.fromEntries(
          ['ClusterService', 'GroupService', 'LogService'].map((name) => [
            name, new v1[name](this.addresses[0], grpc.credentials.createInsecure())]));
      }
      try {
        return await new Promise((resolve, reject) => {
          this.services[service][method](request, { deadline: Date.now() + timeoutMs },
            (error, answer) => (error ? reject(error) : resolve(answer)));
        });
      } catch (error) {
        if (![grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED].includes(error.code)
            || this.stopped || Date.now() > until) {
          throw new GroupError(`${method} at ${this.addresses[0]}: ${error.message}`);
        }
        this.disconnect();
        this.addresses.push(this.addresses.shift());
        await sleep(100);
      }
    }
  }

  disconnect() {
    if (this.services) Object.values(this.services).forEach((service) => service.close());
    this.services = null;
  }
}

// ---- Kafka's ConsumerProtocol: what members tell each other

const int16 = (n) => { const b = Buffer.alloc(2); b.writeInt16BE(n); return b; };
const int32 = (n) => { const b = Buffer.alloc(4); b.writeInt32BE(n); return b; };
const string = (text) => Buffer.concat([int16(Buffer.byteLength(text)), Buffer.from(text)]);

// Version 0: topics, no user data.
function encodeSubscription(topic) {
  return Buffer.concat([int16(0), int32(1), string(topic), int32(-1)]);
}

function encodeAssignment(topic, partitions) {
  return Buffer.concat([int16(0), int32(1), string(topic),
    ...[partitions.length, ...partitions, -1].map(int32)]);
}

// {topic: [partition]}
function decodeAssignment(data) {
  const found = {};
  let at = 6;
  for (let topics = data.length ? data.readInt32BE(2) : 0; topics > 0; topics -= 1) {
    const end = at + 2 + data.readInt16BE(at);
    const topic = data.toString('utf8', at + 2, end);
    const count = data.readInt32BE(end);
    found[topic] = Array.from({ length: count }, (_, i) => data.readInt32BE(end + 4 + 4 * i));
    at = end + 4 + 4 * count;
  }
  return found;
}

// {member: [partition]}: neighbours to one member, one more to the first ones.
function assignRange(count, members) {
  const given = {};
  let at = 0;
  [...members].sort().forEach((member, i) => {
    const size = Math.floor(count / members.length) + (i < count % members.length ? 1 : 0);
    given[member] = Array.from({ length: size }, (_, n) => at + n);
    at += size;
  });
  return given;
}

module.exports = { GroupConsumer, GroupError, parseOptions };
