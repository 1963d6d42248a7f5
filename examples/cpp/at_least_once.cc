// Prints records, and commits what it has printed: none is lost, and some may be
// printed twice (by another member, when this one dies between the two).
#include <iostream>

#include "examples/cpp/example_client.h"

namespace sluice::example {
namespace {

absl::Status Run(const Options& options) {
  const auto client = Client::Make(options);
  if (!client.ok()) return client.status();
  BlockingGroupConsumer* self = nullptr;
  RebalanceListener listener;
  // The last moment; refused, another member prints again what was printed.
  listener.on_revoked = [&self](const auto&) { self->Commit().IgnoreError(); };
  BlockingGroupConsumer consumer((*client)->client(), (*client)->groups(),
                                 (*client)->consumer_options(), listener);
  self = &consumer;
  absl::Status status = consumer.Subscribe({options.topic});
  while (status.ok() && !Stopped()) {
    const auto records = consumer.Poll(kPollUs);
    if (!records.ok()) return records.status();
    if (records->empty()) continue;
    for (const ConsumerRecord& record : *records) Print(record);
    // Before the commit: what is lost in here is not read again.
    std::cout.flush();
    status = consumer.Commit();
    if (IsOfGeneration(status)) status = absl::OkStatus();
  }
  const absl::Status closed = consumer.Close();
  return status.ok() ? closed : status;
}

}  // namespace
}  // namespace sluice::example

int main(int argc, char** argv) {
  return sluice::example::Main(
      argc, argv,
      "Prints records, and commits what it has printed: each at least once.",
      /*with_db=*/false, sluice::example::Run);
}
