// Copies records into an SQLite database, each exactly once. The offset is
// stored with the output in one transaction, and is where reading begins: the
// two cannot disagree, whenever this dies. A member that was taken for dead and
// comes back finds that the stored offset has moved, and its transaction changes
// nothing.
#include <iostream>

#include "examples/cpp/example_client.h"
#include "examples/cpp/output_db.h"

namespace sluice::example {
namespace {

absl::Status SeekToStored(BlockingGroupConsumer& consumer, OutputDb& output,
                          const NamedPartition& tp) {
  const auto offset = output.NextOffset(tp);
  if (!offset.ok()) return offset.status();
  return consumer.Seek(tp, *offset);
}

absl::Status Run(const Options& options) {
  const auto client = Client::Make(options);
  if (!client.ok()) return client.status();
  const auto output = OutputDb::Open(options.db);
  if (!output.ok()) return output.status();
  absl::Status status;
  BlockingGroupConsumer* self = nullptr;
  RebalanceListener listener;
  listener.on_assigned = [&](const membership::Partitions& partitions) {
    for (const NamedPartition& tp : partitions) {
      if (status.ok()) status = SeekToStored(*self, **output, tp);
    }
  };
  GroupConsumerOptions consuming = (*client)->consumer_options();
  consuming.auto_commit = true;  // for `sluice group describe` alone
  BlockingGroupConsumer consumer((*client)->client(), (*client)->groups(),
                                 consuming, listener);
  self = &consumer;
  status = consumer.Subscribe({options.topic});
  while (status.ok() && !Stopped()) {
    const auto batches = consumer.PollBatches(kPollUs, kPollBytes);
    if (!batches.ok()) return batches.status();
    bool refused = false;
    for (const FetchedBatch& batch : *batches) {
      if (!refused) {
        const auto stored = (*output)->Store(batch);
        if (!stored.ok()) return stored.status();
        refused = !*stored;
        if (refused) {
          std::cerr << batch.tp.ToString()
                    << ": another member has stored more, begins anew\n";
        }
      }
      // This one and what came with it is read again, or by another member.
      if (refused && status.ok()) {
        status = SeekToStored(consumer, **output, batch.tp);
      }
    }
  }
  const absl::Status closed = consumer.Close();
  return status.ok() ? closed : status;
}

}  // namespace
}  // namespace sluice::example

int main(int argc, char** argv) {
  return sluice::example::Main(
      argc, argv, "Copies records into an SQLite database, each exactly once.",
      /*with_db=*/true, sluice::example::Run);
}
