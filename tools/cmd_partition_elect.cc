#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <iostream>
#include <memory>

#include "common/base/error.h"
#include "tools/commands.h"
#include "tools/output.h"
#include "tools/topic_lookup.h"

namespace sluice::cli {
namespace {

struct Options {
  std::string topic;
  std::vector<int32_t> partitions;
  bool unclean = false;
  bool dry_run = false;
};

constexpr int64_t kAskAgainUs = 200'000;
constexpr int64_t kElectedWithinUs = 15'000'000;

using Results = google::protobuf::RepeatedPtrField<v1::ElectLeaderResult>;

// A topic that is not there has no partition to name.
std::string PartitionNameOf(const v1::ElectLeaderResult& result) {
  if (result.partition() < 0) return result.topic();
  return result.topic() + "-" + std::to_string(result.partition());
}

bool IsNeedless(const v1::ElectLeaderResult& result) {
  return result.error().code() == v1::ERROR_CODE_ELECTION_NOT_NEEDED;
}

// Ordered, and nobody leads yet.
bool IsOpen(const v1::ElectLeaderResult& result) {
  return !result.has_error() && result.leader_id() <= 0;
}

std::string LossText(const v1::ElectLeaderResult& result, bool unclean) {
  // Ordered first; what it costs is known when the live replicas have told.
  if (unclean && IsOpen(result)) return "not known yet";
  if (!result.has_loss()) return "-";
  return "from " + std::to_string(result.loss().first_offset()) +
         ", known end " + std::to_string(result.loss().known_end_offset());
}

std::string StatusText(const v1::ElectLeaderResult& result, bool dry_run) {
  if (IsNeedless(result)) return "not needed";
  if (result.has_error()) {
    return std::string(NameOf(CodeFromNumber(result.error().code())));
  }
  if (!IsOpen(result)) return dry_run ? "would be elected" : "elected";
  return result.awaited().empty()
             ? "ordered"
             : "ordered, waits for brokers " + Joined(result.awaited());
}

void PrintResults(const Results& results, const Options& options,
                  OutputFormat format) {
  Table table({"PARTITION", "LEADER", "EPOCH", "MAY BE LOST", "STATUS"});
  for (const auto& result : results) {
    const std::string name = PartitionNameOf(result);
    if (format == OutputFormat::kName) {
      std::cout << name << '\n';
      continue;
    }
    table.Add({name,
               result.leader_id() > 0 ? std::to_string(result.leader_id())
                                      : "none",
               std::to_string(result.leader_epoch()),
               LossText(result, options.unclean),
               StatusText(result, options.dry_run)});
  }
  if (format != OutputFormat::kName) table.Print(std::cout);
}

v1::ElectLeadersRequest RequestOf(const Options& options) {
  v1::ElectLeadersRequest request;
  request.set_kind(options.unclean ? v1::ElectLeadersRequest::KIND_UNCLEAN
                                   : v1::ElectLeadersRequest::KIND_PREFERRED);
  if (!options.topic.empty()) {
    auto* named = request.add_topics();
    named->mutable_topic()->set_name(options.topic);
    for (const int32_t partition : options.partitions) {
      named->add_partitions(partition);
    }
  }
  return request;
}

// Shows what it would cost first.
absl::Status ConfirmUnclean(const Context& context, BlockingClient* client,
                            const Options& options) {
  v1::ElectLeadersRequest request = RequestOf(options);
  request.set_validate_only(true);
  const auto preview = client->ElectLeaders(request, context.timeout_us());
  if (!preview.ok()) return preview.status();
  std::string lost;
  for (const auto& result : preview->results()) {
    if (result.has_error()) continue;
    lost += (lost.empty() ? "" : ", ") + PartitionNameOf(result) +
            " (" + LossText(result, true) + ")";
  }
  if (lost.empty()) return absl::OkStatus();  // nothing is to be elected
  return Confirm(context, "Elect the best log that is alive for " + lost +
                              "? Acknowledged records that it lacks are lost "
                              "for good.");
}

// An order stands until all live replicas have told of their logs. An error:
// how it stands could not be asked any more; `results` is what was known.
absl::Status AwaitLeaders(const Context& context, BlockingClient* client,
                  const v1::ElectLeadersRequest& request, Results& results) {
  const int64_t end_us =
      context.clock().MonoMicros() +
      std::min<int64_t>(context.timeout_us(), kElectedWithinUs);
  while (std::any_of(results.begin(), results.end(), IsOpen) &&
         context.clock().MonoMicros() < end_us) {
    usleep(kAskAgainUs);
    auto again = client->ElectLeaders(request, context.timeout_us());
    if (!again.ok()) return again.status();
    if (again->results_size() != results.size()) {
      return MakeError(ErrorCode::kUnknownServerError, "the broker answered ",
                       again->results_size(), " results for ", results.size(),
                       " partitions; ask again");
    }
    for (int i = 0; i < results.size(); ++i) {
      if (!IsOpen(results[i])) continue;
      v1::ElectLeaderResult& now = *again->mutable_results(i);
      if (IsNeedless(now)) now.clear_error();  // it was needed before
      results[i] = std::move(now);
    }
  }
  return absl::OkStatus();
}

absl::Status Elect(Context* context, const Options& options) {
  if (PrintedShape(context->format(), v1::ElectLeadersResponse())) {
    return absl::OkStatus();
  }
  if (options.topic.empty() &&
      (options.unclean || !options.partitions.empty())) {
    return context->Misused(MakeError(
        ErrorCode::kInvalidRequest,
        options.unclean
            ? "--unclean needs a topic: it may lose records; for example "
              "sluice partition elect orders --unclean"
            : "-p needs a topic; for example sluice partition elect orders -p "
              "0"));
  }
  auto client = context->Client();
  if (!client.ok()) return client.status();
  if (options.unclean && !options.dry_run) {
    const auto confirmed = ConfirmUnclean(*context, *client, options);
    if (!confirmed.ok()) return confirmed;
  }
  v1::ElectLeadersRequest request = RequestOf(options);
  request.set_validate_only(options.dry_run);
  auto response = (*client)->ElectLeaders(request, context->timeout_us());
  if (!response.ok()) return response.status();
  absl::Status awaited;
  if (options.unclean && !options.dry_run) {
    awaited = AwaitLeaders(*context, *client, request,
                           *response->mutable_results());
  }
  Print(context->format(), *response, [&](OutputFormat format) {
    PrintResults(response->results(), options, format);
  });
  if (options.dry_run) std::cerr << "dry run: nothing was changed\n";
  for (const auto& result : response->results()) {
    if (result.has_error() && !IsNeedless(result)) {
      return TopicError(result.topic(), result.error());
    }
    if (IsOpen(result) && !options.dry_run) context->exit = kExitUnhealthy;
  }
  if (awaited.ok()) return absl::OkStatus();
  context->exit = kExitError;
  return MakeErrorStatus(
      CodeOf(awaited),
      StrCat("the election is ordered and stands; whether it has come to an "
             "end could not be asked: ", std::string(awaited.message()),
             "; see sluice topic describe"));
}

}  // namespace

void AddPartitionElect(CLI::App* partition, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = partition->add_subcommand(
      "elect", "hand leaderships to the preferred replicas, or force them");
  command->add_option("TOPIC", options->topic, "none: all topics");
  command->add_option("-p,--partition", options->partitions,
                      "only these partitions");
  command->add_flag("--unclean", options->unclean,
                    "where nobody leads: whoever is alive with the best log; "
                    "acknowledged records that it lacks are lost");
  command->add_flag("--dry-run", options->dry_run, "show what would be done");
  context->AddYes(command);
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice partition elect                   # after a restart\n"
      "  sluice partition elect orders -p 3\n"
      "  sluice partition elect orders --unclean --dry-run\n"
      "  sluice partition elect orders -p 3 --unclean --yes\n"
      "The preferred replica is the first one of a partition; it has to be in "
      "sync. Exit code 3: an unclean election is ordered and still waits for "
      "what live replicas tell of their logs.");
  context->OnChosen(command,
                    [context, options] { return Elect(context, *options); });
}

}  // namespace sluice::cli
