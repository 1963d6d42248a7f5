#include "broker/coordinator/view_store.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "common/base/error.h"

namespace sluice::coordinator {
namespace {

bool IsFull(const absl::Status& status) {
  return CodeOf(status) == ErrorCode::kStorageFull;
}

}  // namespace

ViewStore::ViewStore(Deps deps)
    : deps_(std::move(deps)),
      checkpoints_({deps_.fs, deps_.files.open_checkpoint,
                    deps_.path + ".checkpoints", deps_.io_executor}),
      now_(std::make_shared<const Opened>()),
      trouble_(std::make_shared<const absl::Status>()) {}

ViewStore::~ViewStore() { *alive_ = false; }

void ViewStore::Publish(std::shared_ptr<KvStore> kv) {
  now_.Store(std::make_shared<const Opened>(Opened{std::move(kv), ++number_}));
}

void ViewStore::Open() {
  checkpoints_.Load();
  if (!OpenAsItIs()) ReplaceLater({}, kOpenAgainUs);
}

// What cannot be opened is taken for damaged, but for want of room.
bool ViewStore::OpenAsItIs() {
  auto opened = deps_.files.open(deps_.path);
  if (opened.ok()) {
    trouble_.Store(std::make_shared<const absl::Status>());
    Publish(*std::move(opened));
    return true;
  }
  if (IsFull(opened.status())) return Refused(opened.status());
  LOG(ERROR) << "the offsets' view in " << deps_.path
             << " cannot be used: " << opened.status()
             << ". It is set aside and filled again from a checkpoint or the log; "
                "nothing is lost.";
  return OpenFresh();
}

// What is there goes away first.
bool ViewStore::OpenFresh() {
  const absl::Status aside = deps_.files.set_aside(deps_.path);
  if (!aside.ok()) return Refused(aside);
  damaged_ = false;
  auto opened = deps_.files.open(deps_.path);
  if (!opened.ok()) return Refused(opened.status());
  trouble_.Store(std::make_shared<const absl::Status>());
  Publish(*std::move(opened));
  return true;
}

bool ViewStore::Refused(const absl::Status& why) {
  LOG(ERROR) << "no view of offsets can be opened in " << deps_.path << ": "
             << why << "; groups that this broker coordinates wait; tried again "
             << "every " << kOpenAgainUs / 1'000'000 << " s";
  trouble_.Store(std::make_shared<const absl::Status>(why));
  return false;
}

void ViewStore::ReportDamage(uint64_t number, const absl::Status& why) {
  deps_.io_executor->Post([this, alive = alive_, number, why] {
    if (!*alive || number != number_ || replacing_) return;
    damaged_ = !IsFull(why);
    LOG(ERROR) << "the offsets' view in " << deps_.path
               << (damaged_ ? " is damaged: " : " has no room: ") << why
               << (damaged_ ? ". It is set aside and filled again from a "
                              "checkpoint or the log; nothing is lost."
                            : ". It is opened again with what it had stored.");
    std::weak_ptr<KvStore> old = Now().kv;
    Publish(nullptr);
    Replace(std::move(old));
  });
}

// ---- Checkpoints ----

void ViewStore::NoteApplied(int64_t bytes, int64_t records) {
  deps_.io_executor->Post([this, alive = alive_, bytes, records] {
    if (!*alive) return;
    applied_bytes_ += bytes;
    applied_records_ += records;
    if (applied_bytes_ >= deps_.checkpoint_bytes) MakeCheckpoint();
  });
}

// One that fails is tried again after as much of log. It is not needed: without
// it more is replayed.
void ViewStore::MakeCheckpoint() {
  const std::shared_ptr<KvStore> kv = Now().kv;
  if (kv == nullptr) return;  // being replaced; with what it is told next
  const int64_t began_us = deps_.clock->MonoMicros();
  const int64_t log_bytes = std::exchange(applied_bytes_, 0);
  const int64_t records = std::exchange(applied_records_, 0);
  const auto bytes = checkpoints_.Make(*kv);
  if (!bytes.ok()) {
    LOG(ERROR) << "no checkpoint of the offsets' views in " << deps_.path
               << " could be made: " << bytes.status()
               << "; tried again after " << deps_.checkpoint_bytes
               << " bytes of log";
    return;
  }
  LOG(INFO) << "a checkpoint of the offsets' views in " << deps_.path
            << " was made in "
            << (deps_.clock->MonoMicros() - began_us) / 1000 << " ms: "
            << *bytes << " bytes, after " << log_bytes << " bytes of log with "
            << records << " records, "
            << log_bytes / std::max<int64_t>(records, 1) << " bytes a record";
}

// Two stores of one path cannot be open at once: the old one has to be closed,
// and who uses it just now is soon done.
void ViewStore::Replace(std::weak_ptr<KvStore> old) {
  if (!old.expired()) return ReplaceLater(std::move(old), kReleaseAgainUs);
  replacing_ = false;
  if (damaged_ ? OpenFresh() : OpenAsItIs()) return;
  ReplaceLater({}, kOpenAgainUs);
}

void ViewStore::ReplaceLater(std::weak_ptr<KvStore> old, int64_t after_us) {
  replacing_ = true;
  deps_.io_executor->PostAfter(
      after_us, [this, alive = alive_, old = std::move(old)]() mutable {
        if (*alive) Replace(std::move(old));
      });
}

}  // namespace sluice::coordinator
