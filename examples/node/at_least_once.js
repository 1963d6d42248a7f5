#!/usr/bin/env node
// Prints records, and commits what it has printed: none is lost, and some may be
// printed twice (by another member, when this one dies between the two).
'use strict';
const { GroupConsumer, parseOptions } = require('./group_consumer.js');
const { print } = require('./print.js');

async function main() {
  const consumer = new GroupConsumer(parseOptions(
    'Prints records, and commits what it has printed: each at least once.'));
  for await (const batch of consumer.batches()) {
    await print(batch); // before the commit: what is lost in here is not read again
    consumer.commit(batch); // refused: another member prints these again
  }
  await consumer.close();
}

main().catch((error) => {
  console.error(`at_least_once: ${error.message}`);
  process.exit(1);
});
