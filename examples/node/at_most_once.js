#!/usr/bin/env node
// Commits records, and prints what is committed: none is printed twice, and some
// may be lost (when this dies between the two).
'use strict';
const { GroupConsumer, parseOptions } = require('./group_consumer.js');
const { print } = require('./print.js');

async function main() {
  const consumer = new GroupConsumer(parseOptions(
    'Commits records, and prints what is committed: each at most once.'));
  for await (const batch of consumer.batches()) {
    if (await consumer.commitAndWait(batch)) { // else they are another member's now
      await print(batch);
    }
  }
  await consumer.close();
}

main().catch((error) => {
  console.error(`at_most_once: ${error.message}`);
  process.exit(1);
});
