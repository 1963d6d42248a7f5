#!/usr/bin/env node
// Copies records into an SQLite database, each exactly once. The offset is stored
// with the output in one transaction, and is where reading begins: the two cannot
// disagree, whenever this dies. A member that was taken for dead and comes back
// finds that the stored offset has moved, and its transaction changes nothing.
'use strict';
const Database = require('libsql'); // SQLite, with the interface of better-sqlite3
const { GroupConsumer, parseOptions } = require('./group_consumer.js');

const SCHEMA = `
CREATE TABLE IF NOT EXISTS output (topic TEXT, partition INTEGER, offset INTEGER, value TEXT);
CREATE TABLE IF NOT EXISTS progress (
    topic TEXT, partition INTEGER, next_offset INTEGER, PRIMARY KEY (topic, partition));
`;

class Output {
  constructor(path) {
    // Other members write to it, too: wait for them, at most so long.
    this.db = new Database(path, { timeout: 30000 });
    this.db.exec('PRAGMA journal_mode = WAL');
    this.db.exec(SCHEMA);
    this.begin = this.db.prepare('INSERT OR IGNORE INTO progress VALUES (?, ?, 0)');
    this.find = this.db.prepare(
      'SELECT next_offset FROM progress WHERE topic = ? AND partition = ?');
    this.move = this.db.prepare('UPDATE progress SET next_offset = ?'
      + ' WHERE topic = ? AND partition = ? AND next_offset = ?');
    this.add = this.db.prepare('INSERT INTO output VALUES (?, ?, ?, ?)');
    this.began = new Map(); // partition -> the stored offset, as it was here last
  }

  nextOffset(topic, partition) {
    const row = this.find.get(topic, partition);
    if (!row) this.begin.run(topic, partition);
    this.began.set(partition, row ? row.next_offset : 0);
    return this.began.get(partition);
  }

  // False: another member has stored records of this partition since.
  store({ topic, partition, records, nextOffset }) {
    this.db.exec('BEGIN IMMEDIATE');
    const moved = this.move.run(nextOffset, topic, partition, this.began.get(partition)).changes;
    if (moved === 0) {
      this.db.exec('ROLLBACK');
      return false;
    }
    for (const record of records) {
      this.add.run(topic, partition, record.offset, record.value.toString());
    }
    this.db.exec('COMMIT');
    this.began.set(partition, nextOffset);
    return true;
  }
}

async function main() {
  const options = parseOptions('Copies records into an SQLite database, each exactly once.',
    { db: ['output.sqlite', 'the database'] });
  const output = new Output(options.db);
  const consumer = new GroupConsumer(options, (topic, p) => output.nextOffset(topic, p));
  for await (const batch of consumer.batches()) {
    if (output.store(batch)) {
      consumer.commit(batch); // for `sluice group describe`: nobody begins there
    } else {
      console.error(`${batch.topic}-${batch.partition}: another member has stored more, begins anew`);
      await consumer.startOver();
    }
  }
  await consumer.close();
}

main().catch((error) => {
  console.error(`exactly_once: ${error.message}`);
  process.exit(1);
});
