// Commits records, and prints what is committed: none is printed twice, and some
// may be lost (when this dies between the two).
#include <iostream>
#include <vector>

#include "examples/cpp/example_client.h"

namespace sluice::example {
namespace {

// Not committed, so not printed: they are to come again.
absl::Status SeekBack(BlockingGroupConsumer& consumer,
                      const std::vector<FetchedBatch>& batches) {
  for (const FetchedBatch& batch : batches) {
    const absl::Status sought = consumer.Seek(batch.tp, batch.from);
    if (!sought.ok()) return sought;
  }
  return absl::OkStatus();
}

absl::Status PrintAll(const std::vector<FetchedBatch>& batches) {
  for (const FetchedBatch& batch : batches) {
    const absl::Status read =
        ForEachRecord(batch, [&](const DecodedRecord& record) {
          Print(OwnedRecord(batch.tp, record));
          return true;
        });
    if (!read.ok()) return read;
  }
  std::cout.flush();
  return absl::OkStatus();
}

absl::Status Run(const Options& options) {
  const auto client = Client::Make(options);
  if (!client.ok()) return client.status();
  BlockingGroupConsumer consumer((*client)->client(), (*client)->groups(),
                                 (*client)->consumer_options());
  absl::Status status = consumer.Subscribe({options.topic});
  while (status.ok() && !Stopped()) {
    const auto batches = consumer.PollBatches(kPollUs, kPollBytes);
    if (!batches.ok()) return batches.status();
    if (batches->empty()) continue;
    status = consumer.Commit();
    if (status.ok()) {
      status = PrintAll(*batches);
    } else if (IsOfGeneration(status)) {
      status = SeekBack(consumer, *batches);
    }
  }
  const absl::Status closed = consumer.Close();
  return status.ok() ? closed : status;
}

}  // namespace
}  // namespace sluice::example

int main(int argc, char** argv) {
  return sluice::example::Main(
      argc, argv,
      "Commits records, and prints what is committed: each at most once.",
      /*with_db=*/false, sluice::example::Run);
}
