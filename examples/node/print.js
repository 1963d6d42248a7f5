// Output that is out of this process when print() is done: a line a record.
'use strict';

function print({ topic, partition, records }) {
  const lines = records.map(
    (record) => `${topic} ${partition} ${record.offset} ${record.value}\n`).join('');
  return new Promise((resolve, reject) => {
    process.stdout.write(lines, (error) => (error ? reject(error) : resolve()));
  });
}

module.exports = { print };
